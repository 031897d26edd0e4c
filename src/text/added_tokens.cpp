#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

std::uint64_t edge(std::uint32_t node, char byte) {
  return std::uint64_t{node} << 8 | static_cast<std::uint8_t>(byte);
}

std::size_t before(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (static_cast<std::uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

// The character at `at`; of bytes that are none, one that is neither word nor space.
std::uint32_t code_at(std::string_view text, std::size_t at) {
  constexpr std::uint32_t kReplacement = 0xFFFD;
  const std::string_view rest = text.substr(at);
  return first_sequence(rest).kind == Utf8Sequence::Kind::character ? first_code_point(rest)
                                                                    : kReplacement;
}

bool word_at(std::string_view text, std::size_t at) {
  return at < text.size() && is_word(code_at(text, at));
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), token_at_{-1} {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].content.empty()) continue;
    can_start_[static_cast<std::uint8_t>(tokens_[i].content[0])] = true;
    std::uint32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto [found, is_new] =
          child_.emplace(edge(node, c), static_cast<std::uint32_t>(token_at_.size()));
      if (is_new) token_at_.push_back(-1);
      node = found->second;
    }
    token_at_[node] = static_cast<std::int32_t>(i);
  }
}

const AddedToken* AddedTokens::longest(std::string_view text) const {
  const AddedToken* best = nullptr;
  std::uint32_t node = 0;
  for (const char c : text) {
    const auto found = child_.find(edge(node, c));
    if (found == child_.end()) break;
    node = found->second;
    if (token_at_[node] >= 0) best = &tokens_[static_cast<std::size_t>(token_at_[node])];
  }
  return best;
}

AddedTokens::Match AddedTokens::find(std::string_view text, std::size_t from, bool specials) const {
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!can_start_[static_cast<std::uint8_t>(text[at])]) continue;
    const AddedToken* token = longest(text.substr(at));
    if (token == nullptr) continue;
    std::size_t begin = at, end = at + token->content.size();
    at = end - 1;
    if (token->special && !specials) continue;
    if (token->single_word &&
        ((begin > 0 && word_at(text, before(text, begin))) || word_at(text, end)))
      continue;
    while (token->strip_left && begin > from && is_white_space(code_at(text, before(text, begin))))
      begin = before(text, begin);
    while (token->strip_right && end < text.size() && is_white_space(code_at(text, end)))
      end += first_sequence(text.substr(end)).length;
    return {begin, end, token->id};
  }
  return {text.size(), text.size(), 0};
}

}  // namespace mote::text
