// The piece of a q16 product with 8-bit activations that the vector files compute.
#pragma once

#include "kernels/packed/q16/q16_matrix.h"

namespace mote::kernels {

constexpr Index kQ16A8ChunkTokens = 32;
constexpr Index kQ16A8BlockRows = 64;

struct Q16A8Block {
  Q16Matrix w;
  const std::uint32_t* entries = nullptr;
  Index first_row = 0, num_rows = 0;  // at most kQ16A8BlockRows
  // One token: std::int32_t quads_I4[i] = (0, 0, x8_i, 0), as in q16_product_block.h.
  // More: std::int16_t lanes_IL, the tokens' x8_i side by side in 32 lanes, zeros behind them.
  const void* x = nullptr;
  const float* scales_T = nullptr;
  View<float, 2> y_TO;  // the chunk's rows of y, all columns
};
void q16_a8_block_avx2(const Q16A8Block& block);
void q16_a8_block_avx512(const Q16A8Block& block);

}  // namespace mote::kernels
