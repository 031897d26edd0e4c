// GPT-2's way to write bytes as printable characters in a tokenizer's file: bytes that are visible
// in Latin-1 stand for themselves; the others, in order, are U+0100, U+0101, ... (a space is
// U+0120).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mote::text {

std::string to_byte_alphabet(std::string_view bytes);

// The bytes that well-formed UTF-8 `text` stands for; nothing if a character is not in the
// alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace mote::text
