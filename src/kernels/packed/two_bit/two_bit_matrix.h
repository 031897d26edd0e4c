// One two-bit matrix in memory: what the products read. The format is described in two_bit.h.
#pragma once

#include "kernels/core/dtype.h"
#include "kernels/core/view.h"

namespace mote::kernels {

constexpr Index kTwoBitSide = 16;  // rows and columns of a tile
constexpr Index kTwoBitTile = 64;  // bytes of a tile

[[gnu::always_inline]] constexpr Index two_bit_tiles(Index side) {
  return (side + kTwoBitSide - 1) / kTwoBitSide;
}

struct TwoBitMatrix {
  Index rows = 0, columns = 0;
  const std::uint8_t* codes = nullptr;
  const Bf16* scales_R = nullptr;
  const std::uint8_t* zeros_R = nullptr;

  // The tiles of rows 16 panel to 16 panel + 15, one after the other.
  [[gnu::always_inline]] const std::uint8_t* panel(Index panel) const {
    return codes + panel * two_bit_tiles(columns) * kTwoBitTile;
  }
  [[gnu::always_inline]] int code(Index row, Index column) const {
    const std::uint8_t* tile = panel(row / kTwoBitSide) + column / kTwoBitSide * kTwoBitTile;
    return tile[4 * (row % kTwoBitSide) + column % 4] >> 2 * (column / 4 % 4) & 3;
  }
  // Exact, since the scale has 8 significant bits.
  [[gnu::always_inline]] float value(Index row, Index column) const {
    return from_bf16(scales_R[row]) * static_cast<float>(code(row, column) - int{zeros_R[row]});
  }
};

}  // namespace mote::kernels
