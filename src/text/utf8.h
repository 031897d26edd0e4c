// UTF-8 in bytes that may hold anything.
//
// Well-formed sequences are those of the Unicode standard's table 3-7: no overlong forms, no
// surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mote::text {

struct Utf8Sequence {
  enum class Kind {
    character,   // one well-formed character
    incomplete,  // the text ends inside what may become one
    invalid,     // a maximal part that no bytes after it can make well-formed
  };
  Kind kind;
  std::size_t length;  // bytes, at least 1
};

// What `text`, which is not empty, begins with.
Utf8Sequence first_sequence(std::string_view text);

// Bytes of the longest well-formed prefix.
std::size_t valid_utf8_prefix(std::string_view text);

// `text` with U+FFFD for each maximal invalid part, an incomplete end included, or for each byte of
// such a part.
std::string replace_invalid_utf8(std::string_view text, bool each_byte = false);

// Appends the character `code`, which is not a surrogate.
void append_utf8(std::string& text, std::uint32_t code);

// The code point of the well-formed character at the start of `text`.
std::uint32_t first_code_point(std::string_view text);

}  // namespace mote::text
