#include "text/unicode.h"

#include <utf8proc.h>
#include <cstdlib>
#include <memory>

#include "base/check.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

std::string mapped(std::string_view text, NormalForm form) {
  const bool composed = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
      (compatible ? UTF8PROC_COMPAT : 0));
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  MOTE_CHECK(size >= 0, "a text of ", text.size(),
             " bytes cannot be normalised: ", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(size)};
}

utf8proc_category_t category(std::uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

}  // namespace

std::string normal_form(std::string_view text, NormalForm form) {
  // Below the least byte that can lead a character which any form changes or joins to the one
  // before it, text stays as it is; NFC alone leaves Latin-1 alone. ASCII never joins what stands
  // before it, so a stretch that is mapped may end there.
  const int least = form == NormalForm::nfc ? 0xCC : 0x80;
  std::string result;
  std::size_t done = 0, at = 0;
  while (at < text.size()) {
    if (byte_at(text, at) < least) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    if (begin > done) {
      do --begin;
      while (begin > done && (byte_at(text, begin) & 0xC0) == 0x80);
    }
    while (at < text.size() && byte_at(text, at) >= 0x80) ++at;
    result += text.substr(done, begin - done);
    result += mapped(text.substr(begin, at - begin), form);
    done = at;
  }
  result += text.substr(done);
  return result;
}

std::string lowercase(std::string_view text) {
  constexpr std::uint32_t kDottedI = 0x130;  // the one whose lower case is two characters
  std::string result;
  while (!text.empty()) {
    const std::uint32_t code = first_code_point(text);
    text.remove_prefix(first_sequence(text).length);
    append_utf8(result, code == kDottedI ? 'i'
                                         : static_cast<std::uint32_t>(utf8proc_tolower(
                                               static_cast<utf8proc_int32_t>(code))));
    if (code == kDottedI) append_utf8(result, 0x307);
  }
  return result;
}

void append_upper(std::string& text, std::uint32_t code) {
  append_utf8(text,
              static_cast<std::uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
}

bool is_white_space(std::uint32_t code) {
  return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_mark(std::uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_MN;
}

bool is_control(std::uint32_t code) {
  if (code == '\t' || code == '\n' || code == '\r') return false;
  const utf8proc_category_t of = category(code);
  return of == UTF8PROC_CATEGORY_CC || of == UTF8PROC_CATEGORY_CF || of == UTF8PROC_CATEGORY_CN ||
         of == UTF8PROC_CATEGORY_CO || of == UTF8PROC_CATEGORY_CS;
}

bool is_word(std::uint32_t code) {
  if (code == 0x200C || code == 0x200D) return true;
  const utf8proc_category_t of = category(code);
  return (of >= UTF8PROC_CATEGORY_LU && of <= UTF8PROC_CATEGORY_ME) || of == UTF8PROC_CATEGORY_ND ||
         of == UTF8PROC_CATEGORY_NL || of == UTF8PROC_CATEGORY_PC;
}

std::size_t first_grapheme(std::string_view text) {
  utf8proc_int32_t state = 0;
  auto previous = static_cast<utf8proc_int32_t>(first_code_point(text));
  std::size_t at = first_sequence(text).length;
  while (at < text.size()) {
    const auto next = static_cast<utf8proc_int32_t>(first_code_point(text.substr(at)));
    if (utf8proc_grapheme_break_stateful(previous, next, &state)) break;
    previous = next;
    at += first_sequence(text.substr(at)).length;
  }
  return at;
}

bool is_visible(std::uint32_t code) {
  if (code == 0xfffd) return false;
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_SO &&
         (category < UTF8PROC_CATEGORY_MN || category > UTF8PROC_CATEGORY_ME);
}

}  // namespace mote::text
