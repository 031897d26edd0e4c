#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/packed/blocks/block_bytes.h"

namespace mote::kernels {
namespace {

// Code j of 32: lower halves of the bytes first, then upper halves.
int nibble(const std::byte* qs, Index j) {
  const unsigned byte = byte_at(qs, j % 16);
  return static_cast<int>(j < 16 ? byte & 15 : byte >> 4);
}

int fifth_bit(const std::byte* qh, Index j) {
  return static_cast<int>(byte_at(qh, j / 8) >> (j % 8) & 1) << 4;
}

}  // namespace

float largest(const float* x, Index count) {
  float most = 0;
  for (Index i = 0; i < count; ++i) most = std::max(most, std::abs(x[i]));
  return most;
}

float inverse(float scale) {
  const float one_over = scale == 0 ? 0 : 1 / scale;
  return std::isfinite(one_over) ? one_over : 0;
}

void decode_q4_0(const std::byte* p, float* x) {
  const float d = f16_at(p);
  for (Index j = 0; j < 32; ++j) x[j] = d * static_cast<float>(nibble(p + 2, j) - 8);
}

void decode_q4_1(const std::byte* p, float* x) {
  const float d = f16_at(p), m = f16_at(p + 2);
  for (Index j = 0; j < 32; ++j) x[j] = d * static_cast<float>(nibble(p + 4, j)) + m;
}

void decode_q5_0(const std::byte* p, float* x) {
  const float d = f16_at(p);
  for (Index j = 0; j < 32; ++j)
    x[j] = d * static_cast<float>((nibble(p + 6, j) | fifth_bit(p + 2, j)) - 16);
}

void decode_q5_1(const std::byte* p, float* x) {
  const float d = f16_at(p), m = f16_at(p + 2);
  for (Index j = 0; j < 32; ++j)
    x[j] = d * static_cast<float>(nibble(p + 8, j) | fifth_bit(p + 4, j)) + m;
}

void decode_q8_0(const std::byte* p, float* x) {
  const float d = f16_at(p);
  for (Index j = 0; j < 32; ++j)
    x[j] = static_cast<float>(static_cast<std::int8_t>(byte_at(p, 2 + j))) * d;
}

void encode_q8_0(const float* x, std::byte* p) {
  const float d = largest(x, 32) / 127, scale = inverse(d);
  put_f16(d, p);
  for (Index j = 0; j < 32; ++j)
    p[2 + j] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(x[j] * scale)));
}

void decode_mxfp4(const std::byte* p, float* x) {
  constexpr float kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const std::uint32_t e = byte_at(p, 0);
  // 2^(e - 128); the two smallest are subnormal.
  const float d = std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  for (Index j = 0; j < 32; ++j) x[j] = d * kValues[nibble(p + 1, j)];
}

}  // namespace mote::kernels
