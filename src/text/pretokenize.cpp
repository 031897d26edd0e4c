#include "text/pretokenize.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <algorithm>
#include <cassert>
#include <cstdint>

#include "base/check.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

// A pattern from a file may be written to take for ever; a match that needs more than these is an
// error. Ordinary patterns stay below a thousand steps.
constexpr std::uint32_t kMatchLimit = 1'000'000;
constexpr std::uint32_t kHeapLimitKib = 64 * 1024;

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// PCRE2's \s has U+180E in it, which stopped being White_Space in Unicode 6.3; other programs'
// have not.
std::string with_unicode_space(const std::string& pattern) {
  std::string changed;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      changed += pattern[i];
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's')
      changed += "\\p{White_Space}";
    else if (escaped == 'S')
      changed += "\\P{White_Space}";
    else
      changed += {'\\', escaped};
  }
  return changed;
}

struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatch>;

}  // namespace

const char* const kGpt2Pattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class PreTokenizer::Pattern {
 public:
  explicit Pattern(const std::string& pattern);
  ~Pattern();
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  MatchData match_data() const {
    MatchData data(pcre2_match_data_create_from_pattern(code_, nullptr));
    if (!data) throw std::bad_alloc();
    return data;
  }
  // The first match at or after `from` that is not empty, as (begin, end); (size, size) if none.
  std::pair<std::size_t, std::size_t> find(std::string_view text, std::size_t from,
                                           pcre2_match_data* data) const;

 private:
  pcre2_code* code_ = nullptr;
  pcre2_match_context* context_ = nullptr;
};

PreTokenizer::Pattern::Pattern(const std::string& pattern) {
  const std::string changed = with_unicode_space(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // \C could cut a character in two.
  code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(changed.data()), changed.size(),
                        PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  MOTE_CHECK(code_ != nullptr, "the pre-tokenizer's pattern '", changed,
             "' does not compile: ", message_of(error), " at byte ", offset);
  // Without just-in-time compilation (forbidden on some systems) matching is slower, not different.
  pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
  context_ = pcre2_match_context_create(nullptr);
  if (context_ == nullptr) {
    pcre2_code_free(code_);
    throw std::bad_alloc();
  }
  pcre2_set_match_limit(context_, kMatchLimit);
  pcre2_set_heap_limit(context_, kHeapLimitKib);
}

PreTokenizer::Pattern::~Pattern() {
  pcre2_match_context_free(context_);
  pcre2_code_free(code_);
}

std::pair<std::size_t, std::size_t> PreTokenizer::Pattern::find(std::string_view text,
                                                                std::size_t from,
                                                                pcre2_match_data* data) const {
  const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data, context_);
  if (found == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
  MOTE_CHECK(found > 0, "the pre-tokenizer's pattern fails at byte ", from,
             " of the text: ", message_of(found), "; choose a simpler pattern");
  const PCRE2_SIZE* const place = pcre2_get_ovector_pointer(data);
  assert(from <= place[0] && place[0] < place[1] && place[1] <= text.size());
  return {place[0], place[1]};
}

PreTokenizer::PreTokenizer(const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns)
    patterns_.push_back(std::make_unique<Pattern>(pattern));
}
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

void PreTokenizer::split(std::string_view text,
                         const std::function<void(std::string_view)>& piece) const {
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    if (valid > 0) split_valid(text.substr(0, valid), 0, piece);
    text.remove_prefix(valid);
    std::size_t invalid = 0;
    while (invalid < text.size()) {
      const Utf8Sequence next = first_sequence(text.substr(invalid));
      if (next.kind == Utf8Sequence::Kind::character) break;
      invalid += next.length;
    }
    if (invalid > 0) piece(text.substr(0, invalid));
    text.remove_prefix(invalid);
  }
}

void PreTokenizer::split_valid(std::string_view text, std::size_t stage,
                               const std::function<void(std::string_view)>& piece) const {
  if (stage == patterns_.size()) return piece(text);
  const Pattern& pattern = *patterns_[stage];
  const MatchData data = pattern.match_data();
  for (std::size_t at = 0; at < text.size();) {
    const auto [begin, end] = pattern.find(text, at, data.get());
    if (begin > at) split_valid(text.substr(at, begin - at), stage + 1, piece);
    if (end > begin) split_valid(text.substr(begin, end - begin), stage + 1, piece);
    at = end;
  }
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
