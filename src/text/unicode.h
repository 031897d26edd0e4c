// Properties of characters and the four normalisation forms, by utf8proc (Unicode 15).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mote::text {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

// `text`, which is valid UTF-8, in that form.
std::string normal_form(std::string_view text, NormalForm form);

// Each character by its full lower-case mapping, whatever stands beside it.
std::string lowercase(std::string_view text);

// Appends its simple upper case.
void append_upper(std::string& text, std::uint32_t code);

bool is_white_space(std::uint32_t code);  // the White_Space property
bool is_mark(std::uint32_t code);         // a nonspacing mark, Mn
bool is_control(std::uint32_t code);      // Cc, Cf, Cn, Co or Cs, but not tab, line feed and return
// What \w matches: letters, marks, decimal digits, connecting punctuation, joiners.
bool is_word(std::uint32_t code);

// Bytes of the first extended grapheme cluster of `text`, which is valid UTF-8 and not empty.
std::size_t first_grapheme(std::string_view text);

// Whether it is a letter, digit, mark of punctuation or symbol, and not U+FFFD: what a text is about.
bool is_visible(std::uint32_t code);

}  // namespace mote::text
