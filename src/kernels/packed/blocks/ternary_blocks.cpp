#include <cmath>

#include "kernels/packed/blocks/block_bytes.h"

namespace mote::kernels {
namespace {

// Digits of a block of TQ1_0, element by element: which byte has it, and which digit it is there.
struct Place {
  Index byte, digit;
};
Place place_of(Index j) {
  if (j < 160) return {j % 32, j / 32};
  if (j < 240) return {32 + (j - 160) % 16, (j - 160) / 16};
  return {48 + (j - 240) % 4, (j - 240) / 4};
}
constexpr unsigned kPowers[5] = {1, 3, 9, 27, 81};

void digits_of(const float* x, float d, unsigned* digits) {
  const float scale = inverse(d);
  for (Index j = 0; j < 256; ++j)
    digits[j] = static_cast<unsigned>(static_cast<int>(std::round(x[j] * scale)) + 1);
}

}  // namespace

void decode_tq1_0(const std::byte* p, float* x) {
  const float d = f16_at(p + 52);
  for (Index j = 0; j < 256; ++j) {
    const Place at = place_of(j);
    const unsigned digit = ((byte_at(p, at.byte) * kPowers[at.digit] & 255) * 3) >> 8;
    x[j] = d * static_cast<float>(static_cast<int>(digit) - 1);
  }
}

void decode_tq2_0(const std::byte* p, float* x) {
  const float d = f16_at(p + 64);
  for (Index j = 0; j < 256; ++j) {
    const unsigned q = byte_at(p, 32 * (j / 128) + j % 32) >> (2 * (j % 128 / 32)) & 3;
    x[j] = d * static_cast<float>(static_cast<int>(q) - 1);
  }
}

void encode_tq1_0(const float* x, std::byte* p) {
  unsigned digits[256], numbers[52] = {};
  const float d = largest(x, 256);
  digits_of(x, d, digits);
  for (Index j = 0; j < 256; ++j) {
    const Place at = place_of(j);
    numbers[at.byte] += digits[j] * kPowers[4 - at.digit];
  }
  for (Index b = 0; b < 52; ++b) p[b] = static_cast<std::byte>((256 * numbers[b] + 242) / 243);
  put_f16(d, p + 52);
}

void encode_tq2_0(const float* x, std::byte* p) {
  unsigned digits[256];
  const float d = largest(x, 256);
  digits_of(x, d, digits);
  for (Index b = 0; b < 64; ++b) {
    const Index first = 128 * (b / 32) + b % 32;
    unsigned byte = 0;
    for (Index k = 0; k < 4; ++k) byte |= digits[first + 32 * k] << (2 * k);
    p[b] = static_cast<std::byte>(byte);
  }
  put_f16(d, p + 64);
}

}  // namespace mote::kernels
