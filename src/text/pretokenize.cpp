#include "text/pretokenize.h"

#include <algorithm>

#include "text/utf8.h"

namespace mote::text {
namespace {

std::vector<PreStep> cuts(const std::vector<std::string>& patterns) {
  std::vector<PreStep> steps;
  for (const std::string& pattern : patterns) steps.push_back({PreStep::Kind::cut, {pattern}, {}});
  return steps;
}

}  // namespace

const char* const kGpt2Pattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

PreTokenizer::PreTokenizer(const std::vector<PreStep>& steps) : steps_(steps) {
  for (const PreStep& step : steps_) {
    const bool signs = step.kind == PreStep::Kind::metaspace;
    patterns_.emplace_back(signs ? exact_pattern(step.metaspace.replacement) : step.cut.pattern);
  }
}

PreTokenizer::PreTokenizer(const std::vector<std::string>& patterns)
    : PreTokenizer(cuts(patterns)) {}

PreTokenizer::Scratches PreTokenizer::scratches() const {
  Scratches made;
  for (const Regex& pattern : patterns_) made.push_back(pattern.scratch());
  return made;
}

void PreTokenizer::split(std::string_view text, const Piece& piece) const {
  const Scratches scratch = scratches();
  bool at_start = true;
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    if (valid > 0) step(text.substr(0, valid), at_start, 0, scratch, piece);
    text.remove_prefix(valid);
    std::size_t invalid = 0;
    while (invalid < text.size()) {
      const Utf8Sequence next = first_sequence(text.substr(invalid));
      if (next.kind == Utf8Sequence::Kind::character) break;
      invalid += next.length;
    }
    if (invalid > 0) piece(text.substr(0, invalid));
    text.remove_prefix(invalid);
    at_start = false;
  }
}

void PreTokenizer::split_valid(std::string_view text, bool at_start, const Piece& piece) const {
  if (!text.empty()) step(text, at_start, 0, scratches(), piece);
}

void PreTokenizer::step(std::string_view text, bool at_start, std::size_t stage,
                        const Scratches& scratch, const Piece& piece) const {
  if (stage == steps_.size()) return piece(text);
  const PreStep& now = steps_[stage];
  if (now.kind == PreStep::Kind::cut) return cut(text, at_start, stage, scratch, piece);
  if (now.kind == PreStep::Kind::prefix_space) {
    if (text.starts_with(' ')) return step(text, at_start, stage + 1, scratch, piece);
    return step(" " + std::string(text), at_start, stage + 1, scratch, piece);
  }
  std::string signs;
  for (const char c : text)
    if (c == ' ')
      signs += now.metaspace.replacement;
    else
      signs += c;
  const bool prepends = now.metaspace.prepend == Metaspace::Prepend::always ||
                        (now.metaspace.prepend == Metaspace::Prepend::first && at_start);
  if (prepends && !signs.starts_with(now.metaspace.replacement))
    signs.insert(0, now.metaspace.replacement);
  if (!now.metaspace.split) return step(signs, at_start, stage + 1, scratch, piece);
  cut(signs, at_start, stage, scratch, piece);
}

void PreTokenizer::cut(std::string_view text, bool at_start, std::size_t stage,
                       const Scratches& scratch, const Piece& piece) const {
  using Behavior = Cut::Behavior;
  const bool signs = steps_[stage].kind == PreStep::Kind::metaspace;
  const Behavior behavior = signs ? Behavior::merged_next : steps_[stage].cut.behavior;
  const bool invert = !signs && steps_[stage].cut.invert;
  const auto give = [&](std::size_t begin, std::size_t end) {
    if (begin < end)
      step(text.substr(begin, end - begin), at_start && begin == 0, stage + 1, scratch, piece);
  };
  std::size_t open = 0;         // where the piece that may go on begins
  bool before_matched = false;  // the part before the one at hand was a match
  const auto part = [&](std::size_t begin, std::size_t end, bool matched) {
    if (begin == end) return;
    if (behavior == Behavior::isolated) return give(begin, end);
    if (behavior == Behavior::removed) {
      if (!matched) give(begin, end);
      return;
    }
    // Merged with the part before: a match to what is not one; what is not one to a match; a match
    // to a match.
    const bool joins =
        begin > 0 && (behavior == Behavior::merged_previous ? matched && !before_matched
                      : behavior == Behavior::merged_next   ? !matched && before_matched
                                                            : matched == before_matched);
    if (!joins) give(open, begin), open = begin;
    before_matched = matched;
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto [begin, end] = patterns_[stage].find(text, at, *scratch[stage]);
    part(at, begin, invert);
    part(begin, end, !invert);
    at = end;
  }
  if (behavior != Behavior::isolated && behavior != Behavior::removed) give(open, text.size());
}

std::vector<std::string_view> cut_between_words(std::string_view text, std::size_t bytes) {
  const auto visible = [](char c) { return c > ' ' && c < '\x7F'; };
  const auto blank = [](char c) { return c == ' ' || c == '\n'; };
  std::vector<std::string_view> parts;
  while (text.size() > bytes) {
    std::size_t at = std::max<std::size_t>(bytes, 1);
    while (at < text.size() && !(visible(text[at - 1]) && blank(text[at]))) ++at;
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at);
  }
  if (!text.empty()) parts.push_back(text);
  return parts;
}

}  // namespace mote::text
