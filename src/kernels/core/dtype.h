// Number formats as stored, and their conversions, which round to nearest even. bfloat16 is the
// upper half of a float32; float16 is IEEE's binary16.
#pragma once

#include <bit>
#include <cstdint>

namespace mote::kernels {

using Bf16 = std::uint16_t;
using F16 = std::uint16_t;

// How an element of a matrix is stored.
enum class Type { f32, bf16, f16 };

[[gnu::always_inline]] constexpr inline std::int64_t size_of(Type type) {
  return type == Type::f32 ? 4 : 2;
}

[[gnu::always_inline]] inline float from_bf16(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

[[gnu::always_inline]] inline Bf16 to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return static_cast<Bf16>(bits >> 16 | 0x40);  // NaN stays NaN
  return static_cast<Bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// 10 bits of fraction, 5 of exponent: a subnormal is fraction * 2^-24.
[[gnu::always_inline]] inline float from_f16(F16 value) {
  const std::uint32_t sign = static_cast<std::uint32_t>(value & 0x8000) << 16;
  const std::uint32_t exponent = value >> 10 & 0x1f, fraction = value & 0x3ff;
  if (exponent == 0) {
    const float size = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -size : size;
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xff : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

[[gnu::always_inline]] inline F16 to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return static_cast<F16>(sign | 0x7e00);   // NaN
  if (size >= 0x477ff000) return static_cast<F16>(sign | 0x7c00);  // 65520 rounds to infinity
  if (size < 0x38800000) {  // below 2^-14: adding 0.5 leaves the fraction in the last ten bits
    const float shifted = std::bit_cast<float>(size) + 0.5f;
    return static_cast<F16>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000));
  }
  const std::uint32_t rounded = size + 0xfff + (size >> 13 & 1);
  return static_cast<F16>(sign | (rounded - 0x38000000) >> 13);
}

}  // namespace mote::kernels
