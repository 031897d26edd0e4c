#include "text/utf8.h"

#include <cstring>

namespace mote::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

// What a lead byte asks for; the second byte's range is narrower than a continuation's where an
// overlong form, a surrogate or a code above U+10FFFF would start.
struct Lead {
  std::size_t length;  // 0: no character starts so
  std::uint8_t second_least, second_most;
};

Lead lead(std::uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Bytes of the ASCII prefix, to a multiple of eight.
std::size_t ascii_words(std::string_view text) {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  return i;
}

}  // namespace

Utf8Sequence first_sequence(std::string_view text) {
  const Lead wanted = lead(byte_at(text, 0));
  if (wanted.length == 0) return {Utf8Sequence::Kind::invalid, 1};
  for (std::size_t i = 1; i < wanted.length; ++i) {
    if (i == text.size()) return {Utf8Sequence::Kind::incomplete, i};
    const std::uint8_t least = i == 1 ? wanted.second_least : std::uint8_t{0x80};
    const std::uint8_t most = i == 1 ? wanted.second_most : std::uint8_t{0xBF};
    if (byte_at(text, i) < least || byte_at(text, i) > most)
      return {Utf8Sequence::Kind::invalid, i};
  }
  return {Utf8Sequence::Kind::character, wanted.length};
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    i += ascii_words(text.substr(i));
    if (i == text.size()) break;
    const Utf8Sequence next = first_sequence(text.substr(i));
    if (next.kind != Utf8Sequence::Kind::character) break;
    i += next.length;
  }
  return i;
}

std::string replace_invalid_utf8(std::string_view text, bool each_byte) {
  std::string replaced;
  replaced.reserve(text.size());
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    replaced += text.substr(0, valid);
    text.remove_prefix(valid);
    if (text.empty()) break;
    replaced += kReplacement;
    text.remove_prefix(each_byte ? 1 : first_sequence(text).length);
  }
  return replaced;
}

void append_utf8(std::string& text, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  const auto continuation = [&](int shift) { put(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6), continuation(0);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12), continuation(6), continuation(0);
  } else {
    put(0xF0 | code >> 18), continuation(12), continuation(6), continuation(0);
  }
}

std::uint32_t first_code_point(std::string_view text) {
  const std::size_t length = lead(byte_at(text, 0)).length;
  if (length == 1) return byte_at(text, 0);
  std::uint32_t code = byte_at(text, 0) & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) code = code << 6 | (byte_at(text, i) & 0x3Fu);
  return code;
}

}  // namespace mote::text
