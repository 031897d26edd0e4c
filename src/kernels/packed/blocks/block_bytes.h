// Reading and writing the numbers inside a block, and one block after the other.
#pragma once

#include <cstring>

#include "kernels/core/dtype.h"
#include "kernels/packed/blocks/blocks.h"

namespace mote::kernels {

inline unsigned byte_at(const std::byte* p, Index i) {
  return std::to_integer<unsigned>(p[i]);
}
inline float f16_at(const std::byte* p) {
  F16 bits;
  std::memcpy(&bits, p, sizeof bits);
  return from_f16(bits);
}
inline void put_f16(float value, std::byte* p) {
  const F16 bits = to_f16(value);
  std::memcpy(p, &bits, sizeof bits);
}

// A BlockType's decode and encode from those of one block.
template <Index kElements, Index kBytes, void (*kDecode)(const std::byte*, float*)>
void decode_each(const std::byte* blocks, Index count, float* values) {
  for (Index b = 0; b < count; ++b) kDecode(blocks + b * kBytes, values + b * kElements);
}
template <Index kElements, Index kBytes, void (*kEncode)(const float*, std::byte*)>
void encode_each(const float* values, Index count, std::byte* blocks) {
  for (Index b = 0; b < count; ++b) kEncode(values + b * kElements, blocks + b * kBytes);
}

template <Index kElements, Index kBytes, void (*kDecode)(const std::byte*, float*)>
constexpr BlockType read_only(const char* name, std::uint32_t id) {
  return {name, id, kElements, kBytes, decode_each<kElements, kBytes, kDecode>, nullptr, 0};
}
template <Index kElements, Index kBytes, void (*kDecode)(const std::byte*, float*),
          void (*kEncode)(const float*, std::byte*)>
constexpr BlockType read_and_written(const char* name, std::uint32_t id, float most) {
  return {name,
          id,
          kElements,
          kBytes,
          decode_each<kElements, kBytes, kDecode>,
          encode_each<kElements, kBytes, kEncode>,
          most};
}

// One block of each type, by file.
void decode_f32(const std::byte* p, float* x);  // plain_blocks.cpp
void decode_f16(const std::byte* p, float* x);
void decode_bf16(const std::byte* p, float* x);
void encode_f32(const float* x, std::byte* p);
void encode_f16(const float* x, std::byte* p);
void encode_bf16(const float* x, std::byte* p);
void decode_q4_0(const std::byte* p, float* x);  // blocks_of_32.cpp
void decode_q4_1(const std::byte* p, float* x);
void decode_q5_0(const std::byte* p, float* x);
void decode_q5_1(const std::byte* p, float* x);
void decode_q8_0(const std::byte* p, float* x);
void encode_q8_0(const float* x, std::byte* p);
void decode_mxfp4(const std::byte* p, float* x);
void decode_q2_k(const std::byte* p, float* x);  // blocks_of_256.cpp
void decode_q3_k(const std::byte* p, float* x);
void decode_q4_k(const std::byte* p, float* x);
void decode_q5_k(const std::byte* p, float* x);
void decode_q6_k(const std::byte* p, float* x);
void decode_tq1_0(const std::byte* p, float* x);  // ternary_blocks.cpp
void decode_tq2_0(const std::byte* p, float* x);
void encode_tq1_0(const float* x, std::byte* p);
void encode_tq2_0(const float* x, std::byte* p);

// The largest magnitude of a block, and 1 over `scale`, 0 where that is too small to divide by: the
// codes that it would give are 0, as what float16 makes of such a scale.
float largest(const float* x, Index count);
float inverse(float scale);

}  // namespace mote::kernels
