// One two-bit matrix in memory: what the products read. The format is described in two_bit.h.
#pragma once

#include "kernels/core/dtype.h"
#include "kernels/core/view.h"

namespace mote::kernels {

constexpr Index kTwoBitPerByte = 4;

[[gnu::always_inline]] constexpr Index two_bit_bytes(Index columns) {
  return (columns + kTwoBitPerByte - 1) / kTwoBitPerByte;
}

struct TwoBitMatrix {
  Index rows = 0, columns = 0;
  const std::uint8_t* codes_RB = nullptr;
  const Bf16* scales_R = nullptr;
  const std::uint8_t* zeros_R = nullptr;

  [[gnu::always_inline]] const std::uint8_t* row(Index r) const {
    return codes_RB + r * two_bit_bytes(columns);
  }
  // What code `q` stands for in row r; exact, since the scale has 8 significant bits.
  [[gnu::always_inline]] float value(Index r, int q) const {
    return from_bf16(scales_R[r]) * static_cast<float>(q - int{zeros_R[r]});
  }
};

}  // namespace mote::kernels
