// Rounding with a vector of rows (GPTQ) or of columns (to nearest).
#pragma once

#include "kernels/core/simd.h"
#include "kernels/packed/rounding/rounding_block.h"

namespace mote::kernels {
namespace {

struct RoundingAvx2 : Avx2 {
  [[gnu::always_inline]] static V div(V a, V b) { return _mm256_div_ps(a, b); }
};
#if defined(__AVX512F__)
struct RoundingAvx512 : Avx512 {
  [[gnu::always_inline]] static V div(V a, V b) { return _mm512_div_ps(a, b); }
};
#endif

template <class S>
struct Rounded {
  typename S::V symbol, value;
};

// {low, 0, high} per lane. A level of 0 gets a threshold that nothing passes.
template <class S>
struct TernaryGrid {
  using V = typename S::V;
  V low, high, low_half, minus_high_half;

  [[gnu::always_inline]] TernaryGrid(const float* lows, const float* highs) {
    float below[S::kLanes], above[S::kLanes];
    for (int i = 0; i < S::kLanes; ++i) {
      below[i] = lows[i] < 0 ? lows[i] / 2 : -__builtin_inff();
      above[i] = highs[i] > 0 ? -highs[i] / 2 : -__builtin_inff();
    }
    low = S::load(lows);
    high = S::load(highs);
    low_half = S::load(below);
    minus_high_half = S::load(above);
  }
  [[gnu::always_inline]] Rounded<S> operator()(V w) const {
    const V over = S::add(w, minus_high_half);
    const V under = S::fma(w, S::set(-1), low_half);
    return {S::add(S::where_positive(over, S::set(2)), S::where_positive(under, S::set(1))),
            S::add(S::where_positive(over, high), S::where_positive(under, low))};
  }
};

template <class S>
struct TwoBitGrid {
  using V = typename S::V;
  V scale, zero, minus_zero;

  [[gnu::always_inline]] TwoBitGrid(const float* scales, const float* zeros)
      : scale(S::load(scales)),
        zero(S::load(zeros)),
        minus_zero(S::mul(S::load(zeros), S::set(-1))) {}
  [[gnu::always_inline]] Rounded<S> operator()(V w) const {
    const V steps = S::add(S::round(S::div(w, scale)), zero);
    const V code = S::min(S::max(steps, S::zero()), S::set(3));
    return {code, S::mul(scale, S::add(code, minus_zero))};
  }
};

template <class S, template <class> class GridOf>
[[gnu::always_inline]] inline void round_row_on(const RoundRow& row) {
  float first[S::kLanes], second[S::kLanes], symbols[S::kLanes];
  S::store(first, S::set(row.levels[0]));
  S::store(second, S::set(row.levels[1]));
  const GridOf<S> grid(first, second);
  Index c = 0;
  for (; c + S::kLanes <= row.columns; c += S::kLanes) {
    S::store(symbols, grid(S::load(row.w + c)).symbol);
    for (int i = 0; i < S::kLanes; ++i)
      row.symbols[c + i] = static_cast<std::uint8_t>(static_cast<int>(symbols[i]));
  }
  S::store(symbols, grid(S::load(row.w + c, row.columns - c)).symbol);
  for (int i = 0; c + i < row.columns; ++i)
    row.symbols[c + i] = static_cast<std::uint8_t>(static_cast<int>(symbols[i]));
}

template <class S>
[[gnu::always_inline]] inline void round_row(const RoundRow& row) {
  if (row.grid == Grid::ternary) return round_row_on<S, TernaryGrid>(row);
  round_row_on<S, TwoBitGrid>(row);
}

constexpr int kStep = 8;  // columns held in registers

// kLanes rows of a block, stored [column][lane].
template <class S>
struct Strip {
  alignas(64) float w_CL[kGptqColumns * S::kLanes];
  alignas(64) float symbols_CL[kGptqColumns * S::kLanes];
};

template <class S>
[[gnu::always_inline]] inline void load_strip(const GptqBlock& block, Index first, Index rows,
                                              Strip<S>& strip) {
  const Index columns = block.w_RC.size(1);
  for (Index c = 0; c < columns; c += S::kLanes) {
    typename S::V tile[S::kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < S::kLanes; ++r)
      tile[r] = r < rows ? S::load(block.w_RC.row(first + r) + c, columns - c) : S::zero();
    S::transpose(tile);
#pragma GCC unroll 16
    for (int i = 0; i < S::kLanes; ++i)
      if (c + i < columns) S::store(strip.w_CL + (c + i) * S::kLanes, tile[i]);
  }
}

// Columns [a, a + kCount) of the strip with the corrections among them; then all behind them.
template <class S, int kCount, class GridOfS>
[[gnu::always_inline]] inline void round_step(const GptqBlock& block, const GridOfS& grid, Index a,
                                              Index first, Strip<S>& strip,
                                              typename S::V& objective) {
  using V = typename S::V;
  V w[kCount], minus_e[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) w[i] = S::load(strip.w_CL + (a + i) * S::kLanes);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    const float* u = block.u + (a + i) * block.u_stride + a;
    const Rounded<S> rounded = grid(w[i]);
    const V minus_error = S::fma(w[i], S::set(-1), rounded.value);
    minus_e[i] = S::div(minus_error, S::set(u[i]));
    objective = S::fma(minus_e[i], minus_e[i], objective);
    S::store(strip.symbols_CL + (a + i) * S::kLanes, rounded.symbol);
    S::store(block.corrections_CR + (a + i) * kGptqRows + first, minus_e[i]);
#pragma GCC unroll 8
    for (int j = i + 1; j < kCount; ++j) w[j] = S::fma(minus_e[i], S::set(u[j]), w[j]);
  }
  const float* u = block.u + a * block.u_stride;
  for (Index j = a + kCount; j < block.w_RC.size(1); ++j) {
    V sum = S::load(strip.w_CL + j * S::kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i)
      sum = S::fma(minus_e[i], S::set(u[i * block.u_stride + j]), sum);
    S::store(strip.w_CL + j * S::kLanes, sum);
  }
}

template <class S>
[[gnu::always_inline]] inline void store_symbols(const GptqBlock& block, Index first, Index rows,
                                                 const Strip<S>& strip) {
  const Index columns = block.w_RC.size(1);
  for (Index r = 0; r < rows; ++r) {
    std::uint8_t* symbols = block.symbols_RC.row(first + r);
    for (Index c = 0; c < columns; ++c)
      symbols[c] = static_cast<std::uint8_t>(static_cast<int>(strip.symbols_CL[c * S::kLanes + r]));
  }
}

template <class S, template <class> class GridOf>
[[gnu::always_inline]] inline void gptq_strip(const GptqBlock& block, Index first, Index rows,
                                              Strip<S>& strip) {
  float levels[2][S::kLanes], objectives[S::kLanes];
  for (int i = 0; i < S::kLanes; ++i)
    for (int k = 0; k < 2; ++k) levels[k][i] = i < rows ? block.levels_R2(first + i, k) : 1;
  const GridOf<S> grid(levels[0], levels[1]);
  load_strip(block, first, rows, strip);
  typename S::V objective = S::zero();
  const Index columns = block.w_RC.size(1);
  Index a = 0;
  for (; a + kStep <= columns; a += kStep)
    round_step<S, kStep>(block, grid, a, first, strip, objective);
  for (; a < columns; ++a) round_step<S, 1>(block, grid, a, first, strip, objective);
  store_symbols(block, first, rows, strip);
  S::store(objectives, objective);
  for (Index r = 0; r < rows; ++r) block.objective_R[first + r] += objectives[r];
}

template <class S>
void gptq_block(const GptqBlock& block) {
  Strip<S> strip;
  const Index rows = block.w_RC.size(0);
  for (Index first = 0; first < rows; first += S::kLanes) {
    const Index left = rows - first < S::kLanes ? rows - first : S::kLanes;
    if (block.grid == Grid::ternary) {
      gptq_strip<S, TernaryGrid>(block, first, left, strip);
    } else {
      gptq_strip<S, TwoBitGrid>(block, first, left, strip);
    }
  }
}

}  // namespace
}  // namespace mote::kernels
