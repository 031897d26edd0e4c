// The pieces of q16 products that the vector files compute. The layouts are of x, for a chunk of
// tokens; lanes above its tokens hold zeros.
#pragma once

#include "kernels/packed/product/block.h"
#include "kernels/packed/q16/q16_matrix.h"

namespace mote::kernels {

using Q16Layout = PackedLayout<Q16Matrix>;
using Q16Block = PackedBlock<Q16Matrix>;

constexpr Index kQ16ChunkTokens = 16;
constexpr Index kQ16BlockRows = 64;

// Lanes of a float32 chunk: 1, 4, 8 or 16.
[[gnu::always_inline]] constexpr Index q16_lanes(Index tokens) {
  return tokens == 1 ? 1 : tokens <= 4 ? 4 : tokens <= 8 ? 8 : 16;
}

// One token: float quads_I4[i] = (0, 0, x_i, 0), so that two floats at 4 i + trit are what column i
// adds to (S+, S-): (0, 0), (0, x_i) or (x_i, 0).
// More: float lanes_IL, the tokens' x_i side by side.
void q16_block_avx2(const Q16Block& block);
void q16_block_avx512(const Q16Block& block);

// With 8-bit activations the layout begins with the scales of the chunk's tokens, then
// one token: std::int16_t quads_I4[i] = (0, 0, x_i, -1 if x_i < 0 else 0), so that 32 bits at
// 4 i + trit are 0, 65536 x_i or x_i;
// more: std::int16_t lanes_IL, 16 or 32;
// and room for a row of int8_rows.h.
constexpr Index kQ16Int8Tokens = 32;
[[gnu::always_inline]] constexpr Index q16_int8_lanes(Index tokens) {
  return tokens <= 16 ? 16 : 32;
}
constexpr Index kQ16Int8Header = 4 * kQ16Int8Tokens;  // bytes
void q16_lay_out_int8_avx2(const Q16Layout& to);
void q16_lay_out_int8_avx512(const Q16Layout& to);
void q16_block_int8_avx2(const Q16Block& block);
void q16_block_int8_avx512(const Q16Block& block);
// Tiles: the layout of kQ16LeastTokensForTiles or more is rows of int8_rows.h.
constexpr Index kQ16LeastTokensForTiles = 32;
void q16_lay_out_int8_amx(const Q16Layout& to);
void q16_block_int8_amx(const Q16Block& block);

// To the input a block is a whole chunk; the layout is room for dx_IL, lanes as above, at least 4.
void q16_block_to_input_avx2(const Q16Block& block);
void q16_block_to_input_avx512(const Q16Block& block);

}  // namespace mote::kernels
