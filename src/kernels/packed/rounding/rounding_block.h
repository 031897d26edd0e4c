// The pieces of rounding that the vector files compute.
#pragma once

#include "kernels/packed/rounding/rounding.h"

namespace mote::kernels {

constexpr Index kGptqRows = 112;
constexpr Index kGptqColumns = 128;

// One row to the nearest points of its grid.
struct RoundRow {
  const float* w = nullptr;
  Index columns = 0;
  Grid grid = Grid::ternary;
  const float* levels = nullptr;
  std::uint8_t* symbols = nullptr;
};
void round_row_avx2(const RoundRow& row);
void round_row_avx512(const RoundRow& row);

// A block of columns of some rows, with the corrections inside the block.
struct GptqBlock {
  View<const float, 2> w_RC;  // the block's columns, corrected for all columns before
  const float* u = nullptr;   // U at the block's first column and row
  Index u_stride = 0;
  Grid grid = Grid::ternary;
  View<const float, 2> levels_R2;
  View<std::uint8_t, 2> symbols_RC;
  float* corrections_CR = nullptr;  // out: -e, kGptqRows apart
  float* objective_R = nullptr;     // in and out
};
void gptq_block_avx2(const GptqBlock& block);
void gptq_block_avx512(const GptqBlock& block);

}  // namespace mote::kernels
