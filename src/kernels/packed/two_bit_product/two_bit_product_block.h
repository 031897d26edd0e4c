// The pieces of two-bit products that the vector files compute.
#pragma once

#include "kernels/packed/two_bit/two_bit_matrix.h"

namespace mote::kernels {

constexpr Index kTwoBitChunkTokens = 16;
constexpr Index kTwoBitBlockRows = 64;
constexpr Index kTwoBitBlockColumns = 256;  // a cache line of codes

// Rows [first, first + count) of y for a chunk of tokens.
struct TwoBitBlock {
  TwoBitMatrix w;
  Index first = 0, count = 0;
  View<const float, 2> x_TI;
  View<float, 2> y_TO;
};
void two_bit_block_avx2(const TwoBitBlock& block);
void two_bit_block_avx512(const TwoBitBlock& block);

// Columns [first, first + count) of dx for a chunk of tokens; `first` is a multiple of 256.
struct TwoBitBlockToInput {
  TwoBitMatrix w;
  Index first = 0, count = 0;
  View<const float, 2> dy_TO;
  View<float, 2> dx_TI;
};
void two_bit_block_to_input_avx2(const TwoBitBlockToInput& block);
void two_bit_block_to_input_avx512(const TwoBitBlockToInput& block);

}  // namespace mote::kernels
