// The piece of a q16 product that the vector files compute: some rows of one matrix, for a chunk of
// up to 16 tokens whose x has been laid out.
#pragma once

#include "kernels/packed/q16/q16_matrix.h"

namespace mote::kernels {

constexpr Index kQ16ChunkTokens = 16;
constexpr Index kQ16BlockRows = 64;

// Lanes of the layout for a chunk: 1, 4, 8 or 16. Those above `tokens` hold zeros.
[[gnu::always_inline]] constexpr Index q16_lanes(Index tokens) {
  return tokens == 1 ? 1 : tokens <= 4 ? 4 : tokens <= 8 ? 8 : 16;
}

struct Q16Block {
  Q16Matrix w;
  const std::uint32_t* entries = nullptr;
  Index first_row = 0, num_rows = 0;  // at most kQ16BlockRows
  Index tokens = 0;
  // One token: quads_I4[i] = (0, 0, x_i, 0), so that two floats at 4 i + trit are what column i
  // adds to (S+, S-): (0, 0), (0, x_i) or (x_i, 0).
  // More: lanes_IL, the tokens' x_i side by side.
  const float* x = nullptr;
  View<float, 2> y_TO;  // the chunk's rows of y, all columns
};
void q16_block_avx2(const Q16Block& block);
void q16_block_avx512(const Q16Block& block);

struct Q16BlockToInput {
  Q16Matrix w;
  const std::uint32_t* entries = nullptr;
  Index tokens = 0;
  View<const float, 2> dy_TO;
  float* dx_IL = nullptr;  // zeros when called; lanes as above, at least 4
};
void q16_block_to_input_avx2(const Q16BlockToInput& block);
void q16_block_to_input_avx512(const Q16BlockToInput& block);

}  // namespace mote::kernels
