#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <cassert>
#include <cstdint>
#include <new>

#include "base/check.h"

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

class MatchData final : public Regex::Scratch {
 public:
  explicit MatchData(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)) {
    if (data == nullptr) throw std::bad_alloc();
  }
  ~MatchData() override { pcre2_match_data_free(data); }
  MatchData(const MatchData&) = delete;
  MatchData& operator=(const MatchData&) = delete;

  pcre2_match_data* const data;
};

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

Regex::Regex(const std::string& pattern) : code_(std::make_unique<Code>()) {
  const std::string changed = with_unicode_space(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // \C could cut a character in two.
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(changed.data()), changed.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE,
                              &error, &offset, nullptr);
  MOTE_CHECK(code_->code != nullptr, "the pattern '", changed,
             "' does not compile: ", message_of(error), " at byte ", offset);
  // Without just-in-time compilation (forbidden on some systems) matching is slower, not different.
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);
  code_->context = pcre2_match_context_create(nullptr);
  if (code_->context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(code_->context, kMatchLimit);
  pcre2_set_heap_limit(code_->context, kHeapLimitKib);
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::unique_ptr<Regex::Scratch> Regex::scratch() const {
  return std::make_unique<MatchData>(code_->code);
}

std::pair<std::size_t, std::size_t> Regex::find(std::string_view text, std::size_t from,
                                                Scratch& scratch) const {
  pcre2_match_data* const data = static_cast<MatchData&>(scratch).data;
  const int found = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data, code_->context);
  if (found == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
  MOTE_CHECK(found > 0, "the pre-tokenizer's pattern fails at byte ", from,
             " of the text: ", message_of(found), "; choose a simpler pattern");
  const PCRE2_SIZE* const place = pcre2_get_ovector_pointer(data);
  // \K in a look-ahead can make a match begin after its end.
  MOTE_CHECK(from <= place[0] && place[0] < place[1] && place[1] <= text.size(),
             "the pre-tokenizer's pattern matches from byte ", place[0], " to byte ", place[1],
             "; a match must end after it begins");
  return {place[0], place[1]};
}

std::string exact_pattern(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       static_cast<signed char>(c) < 0;
    if (!plain) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace mote::text
