#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace mote::text {
namespace {

constexpr int kFirstStandIn = 0x100;
constexpr int kNumStandIns = 68;

constexpr bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::uint16_t, 256> code{};
  std::array<std::int16_t, kFirstStandIn + kNumStandIns> byte{};  // by code; -1: in no alphabet
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.byte) byte = -1;
  int stand_in = kFirstStandIn;
  for (int byte = 0; byte < 256; ++byte) {
    const int code = stands_for_itself(byte) ? byte : stand_in++;
    alphabet.code[static_cast<std::size_t>(byte)] = static_cast<std::uint16_t>(code);
    alphabet.byte[static_cast<std::size_t>(code)] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();
static_assert(kAlphabet.code[' '] == 0x120 && kAlphabet.byte.back() == 0xAD);

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) append_utf8(text, kAlphabet.code[static_cast<std::uint8_t>(c)]);
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const std::uint32_t code = first_code_point(text);
    if (code >= kAlphabet.byte.size() || kAlphabet.byte[code] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[code]);
    text.remove_prefix(first_sequence(text).length);
  }
  return bytes;
}

}  // namespace mote::text
