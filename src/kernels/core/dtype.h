// Number formats as stored, and their conversions. bfloat16 is the upper half of a float32, rounded
// to nearest even.
#pragma once

#include <bit>
#include <cstdint>

namespace mote::kernels {

using Bf16 = std::uint16_t;

[[gnu::always_inline]] inline float from_bf16(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

[[gnu::always_inline]] inline Bf16 to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return static_cast<Bf16>(bits >> 16 | 0x40);  // NaN stays NaN
  return static_cast<Bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace mote::kernels
