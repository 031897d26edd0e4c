#include "kernels/packed/blocks/block_bytes.h"

namespace mote::kernels {
namespace {

// The two-bit code of element j: each half of a block has 32 bytes, its quarters two bits of each.
unsigned two_bits(const std::byte* qs, Index j) {
  return byte_at(qs, 32 * (j / 128) + j % 32) >> (2 * (j % 128 / 32)) & 3;
}

// Scale and minimum of group p of Q4_K and Q5_K, six bits each.
struct ScaleMin {
  float scale, min;
};
ScaleMin scale_min(const std::byte* scales, Index p) {
  if (p < 4)
    return {static_cast<float>(byte_at(scales, p) & 63),
            static_cast<float>(byte_at(scales, p + 4) & 63)};
  const unsigned low = byte_at(scales, p + 4);
  return {static_cast<float>((low & 15) | (byte_at(scales, p - 4) >> 6) << 4),
          static_cast<float>(low >> 4 | (byte_at(scales, p) >> 6) << 4)};
}

int q3_k_scale(const std::byte* scales, Index g) {
  const unsigned low = byte_at(scales, g % 8) >> (g < 8 ? 0 : 4) & 15;
  const unsigned high = byte_at(scales, 8 + g % 4) >> (2 * (g / 4)) & 3;
  return static_cast<int>(low | high << 4) - 32;
}

// Q5_K has a fifth bit of each code in `qh`, Q4_K none.
void decode_groups(const std::byte* p, const std::byte* qh, const std::byte* qs, float* x) {
  const float d = f16_at(p), d_min = f16_at(p + 2);
  for (Index g = 0; g < 8; ++g) {
    const ScaleMin of = scale_min(p + 4, g);
    const float scale = d * of.scale, min = d_min * of.min;
    for (Index i = 0; i < 32; ++i) {
      unsigned q = byte_at(qs, 32 * (g / 2) + i) >> (g % 2 * 4) & 15;
      if (qh != nullptr) q |= (byte_at(qh, i) >> g & 1) << 4;
      x[32 * g + i] = scale * static_cast<float>(q) - min;
    }
  }
}

}  // namespace

void decode_q2_k(const std::byte* p, float* x) {
  const float d = f16_at(p + 80), d_min = f16_at(p + 82);
  for (Index g = 0; g < 16; ++g) {
    const unsigned byte = byte_at(p, g);
    const float scale = d * static_cast<float>(byte & 15);
    const float min = d_min * static_cast<float>(byte >> 4);
    for (Index j = 16 * g; j < 16 * g + 16; ++j)
      x[j] = scale * static_cast<float>(two_bits(p + 16, j)) - min;
  }
}

void decode_q3_k(const std::byte* p, float* x) {
  const float d = f16_at(p + 108);
  for (Index j = 0; j < 256; ++j) {
    const float scale = d * static_cast<float>(q3_k_scale(p + 96, j / 16));
    const unsigned kept = byte_at(p, j % 32) >> (j / 32) & 1;
    const int q = static_cast<int>(two_bits(p + 32, j)) - (kept ? 0 : 4);
    x[j] = scale * static_cast<float>(q);
  }
}

void decode_q4_k(const std::byte* p, float* x) {
  decode_groups(p, nullptr, p + 16, x);
}

void decode_q5_k(const std::byte* p, float* x) {
  decode_groups(p, p + 16, p + 48, x);
}

void decode_q6_k(const std::byte* p, float* x) {
  const float d = f16_at(p + 208);
  for (Index j = 0; j < 256; ++j) {
    const Index h = j / 128, k = j % 128 / 32, i = j % 32;
    const unsigned low = byte_at(p, 64 * h + 32 * (k % 2) + i) >> (k < 2 ? 0 : 4) & 15;
    const unsigned high = byte_at(p + 128, 32 * h + i) >> (2 * k) & 3;
    const auto s = static_cast<std::int8_t>(byte_at(p + 192, j / 16));
    x[j] = d * static_cast<float>(s) * static_cast<float>(static_cast<int>(low | high << 4) - 32);
  }
}

}  // namespace mote::kernels
