#include "text/unigram.h"

#include <algorithm>

#include "base/process.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

std::uint64_t edge(std::uint32_t node, char byte) {
  return std::uint64_t{node} << 8 | static_cast<std::uint8_t>(byte);
}

}  // namespace

void Unigram::add(std::string_view token, std::int32_t id, double score) {
  std::uint32_t node = 0;
  for (const char c : token) {
    const auto [found, is_new] =
        child_.emplace(edge(node, c), static_cast<std::uint32_t>(nodes_.size()));
    if (is_new) nodes_.emplace_back();
    node = found->second;
  }
  nodes_[node] = {id, score};
}

std::vector<Unigram::Part> Unigram::cut(std::string_view text, bool fuse) const {
  constexpr std::size_t kNowhere = ~std::size_t{0};
  struct Best {
    double score = 0;
    std::size_t begin = kNowhere;
    std::int32_t id = -1;
  };
  std::vector<Best> best(text.size() + 1);
  const auto offer = [&](std::size_t begin, std::size_t end, std::int32_t id, double score) {
    const double sum = best[begin].score + score;
    if (best[end].begin == kNowhere || sum > best[end].score) best[end] = {sum, begin, id};
  };
  for (std::size_t at = 0; at < text.size();) {
    stop_if_interrupted();
    const std::size_t length = first_sequence(text.substr(at)).length;
    bool single = false;
    std::uint32_t node = 0;
    for (std::size_t end = at; end < text.size();) {
      const auto found = child_.find(edge(node, text[end]));
      if (found == child_.end()) break;
      node = found->second;
      ++end;
      if (nodes_[node].id < 0) continue;
      offer(at, end, nodes_[node].id, nodes_[node].score);
      single = single || end - at == length;
    }
    if (!single) offer(at, at + length, -1, unknown_score_);
    at += length;
  }
  std::vector<Part> parts;
  for (std::size_t end = text.size(); end > 0; end = best[end].begin) {
    const Best& last = best[end];
    if (fuse && last.id < 0 && !parts.empty() && parts.back().id < 0)
      parts.back().begin = last.begin;
    else
      parts.push_back({last.begin, end, last.id});
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace mote::text
