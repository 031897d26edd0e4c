// The pieces of two-bit products that the vector files compute.
#pragma once

#include "kernels/packed/product/block.h"
#include "kernels/packed/two_bit/two_bit_matrix.h"

namespace mote::kernels {

using TwoBitLayout = PackedLayout<TwoBitMatrix>;
using TwoBitBlock = PackedBlock<TwoBitMatrix>;

// The layout is one float per token, the sum of its x: one chain over the columns in order.
constexpr Index kTwoBitSums = 64;  // bytes per token, the sum first
void two_bit_block_avx2(const TwoBitBlock& block);
void two_bit_block_avx512(const TwoBitBlock& block);

// The layout is rows of int8_rows.h.
void two_bit_lay_out_int8_avx2(const TwoBitLayout& to);
void two_bit_lay_out_int8_avx512(const TwoBitLayout& to);
void two_bit_block_int8_avx2(const TwoBitBlock& block);
void two_bit_block_int8_avx2_vnni(const TwoBitBlock& block);
void two_bit_block_int8_avx512(const TwoBitBlock& block);
void two_bit_block_int8_avx512_vnni(const TwoBitBlock& block);
// Tiles, with panels of two times 16 rows as bytes; fewer tokens go through vectors.
constexpr Index kTwoBitLeastTokensForTiles = 8;
void two_bit_block_int8_amx(const TwoBitBlock& block);

// To the input: the layout is per token scale * dy, and once the zeros as floats, all for the rows
// of the matrix and zeros up to a multiple of 16.
[[gnu::always_inline]] constexpr Index two_bit_padded(Index rows) {
  return two_bit_tiles(rows) * kTwoBitSide;
}
void two_bit_block_to_input_avx2(const TwoBitBlock& block);
void two_bit_block_to_input_avx512(const TwoBitBlock& block);

}  // namespace mote::kernels
