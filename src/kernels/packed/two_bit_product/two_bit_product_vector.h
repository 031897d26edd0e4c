// Blocks of two-bit products. A vector of codes is decoded by a shift per lane and a look-up of the
// row's four values.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/packed/two_bit_product/two_bit_product_block.h"

namespace mote::kernels {
namespace {

struct TwoBitAvx2 : Avx2 {
  static constexpr int kBytes = 2;  // codes of one vector
  // Tiles that fill the registers: 4 rows x kTokens forward; to input 4 tokens x kVectors, or one
  // token x kVectorsAlone.
  static constexpr int kTokens = 2, kVectors = 2, kVectorsAlone = 8;
  [[gnu::always_inline]] static V values(V levels, std::uint32_t codes) {
    const __m256i shifts = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    const __m256i spread = _mm256_set1_epi32(static_cast<int>(codes));
    return _mm256_permutevar_ps(levels, _mm256_srlv_epi32(spread, shifts));
  }
  [[gnu::always_inline]] static V four(__m128 levels) { return _mm256_broadcast_ps(&levels); }
};

#if defined(__AVX512F__)
struct TwoBitAvx512 : Avx512 {
  static constexpr int kBytes = 4;
  static constexpr int kTokens = 4, kVectors = 4, kVectorsAlone = 16;
  [[gnu::always_inline]] static V values(V levels, std::uint32_t codes) {
    const __m512i shifts =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i spread = _mm512_set1_epi32(static_cast<int>(codes));
    return _mm512_permutevar_ps(levels, _mm512_srlv_epi32(spread, shifts));
  }
  [[gnu::always_inline]] static V four(__m128 levels) { return _mm512_broadcast_f32x4(levels); }
};
#endif

// The codes of one vector of columns; the second form reads no more bytes than `count` columns have
// and gives 0 for what is beyond.
template <class S>
[[gnu::always_inline]] inline std::uint32_t load_codes(const std::uint8_t* bytes) {
  std::uint32_t codes = 0;
  __builtin_memcpy(&codes, bytes, S::kBytes);
  return codes;
}
template <class S>
[[gnu::always_inline]] inline std::uint32_t load_codes(const std::uint8_t* bytes, Index count) {
  std::uint32_t codes = 0;
  for (Index b = 0; 4 * b < count && b < S::kBytes; ++b)
    codes |= static_cast<std::uint32_t>(bytes[b]) << 8 * b;
  return codes;
}

// A row's values of the codes 0..3, in each group of four lanes.
template <class S>
[[gnu::always_inline]] inline typename S::V levels_of(const TwoBitMatrix& w, Index row) {
  const __m128 codes = _mm_sub_ps(
      _mm_setr_ps(0, 1, 2, 3), _mm_set1_ps(static_cast<float>(static_cast<int>(w.zeros_R[row]))));
  return S::four(_mm_mul_ps(_mm_set1_ps(from_bf16(w.scales_R[row])), codes));
}

template <class S, int kRows, int kTokens>
[[gnu::always_inline]] inline void product_tile(const TwoBitBlock& block, Index row, Index token) {
  using V = typename S::V;
  const TwoBitMatrix& w = block.w;
  V sums[kRows][kTokens], levels[kRows];
  const std::uint8_t* codes[kRows];
#pragma GCC unroll 4
  for (int k = 0; k < kRows; ++k) {
    levels[k] = levels_of<S>(w, row + k);
    codes[k] = w.row(row + k);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) sums[k][t] = S::zero();
  }
  const Index whole = w.columns / S::kLanes * S::kLanes, rest = w.columns - whole;
  for (Index i = 0; i < whole; i += S::kLanes) {
    V x[kTokens];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) x[t] = S::load(block.x_TI.row(token + t) + i);
#pragma GCC unroll 4
    for (int k = 0; k < kRows; ++k) {
      const V values = S::values(levels[k], load_codes<S>(codes[k] + i / 4));
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) sums[k][t] = S::fma(values, x[t], sums[k][t]);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kRows; ++k) {
    const V values = S::values(levels[k], load_codes<S>(codes[k] + whole / 4, rest));
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const V x = S::load(block.x_TI.row(token + t) + whole, rest);
      block.y_TO(token + t, row + k) = S::sum(S::fma(values, x, sums[k][t]));
    }
  }
}

template <class S, int kRows>
[[gnu::always_inline]] inline void product_rows(const TwoBitBlock& block, Index row) {
  const Index tokens = block.x_TI.size(0);
  Index t = 0;
  for (; t + S::kTokens <= tokens; t += S::kTokens)
    product_tile<S, kRows, S::kTokens>(block, row, t);
  for (; t < tokens; ++t) product_tile<S, kRows, 1>(block, row, t);
}

template <class S>
[[gnu::always_inline]] inline void product_block(const TwoBitBlock& block) {
  const Index end = block.first + block.count;
  Index row = block.first;
  for (; row + 4 <= end; row += 4) product_rows<S, 4>(block, row);
  for (; row < end; ++row) product_rows<S, 1>(block, row);
}

// kVectors vectors of dx's columns from `column` on, the last of which may reach beyond the end.
template <class S, int kVectors, int kTokens>
[[gnu::always_inline]] inline void to_input_tile(const TwoBitBlockToInput& block, Index column,
                                                 Index token) {
  using V = typename S::V;
  const TwoBitMatrix& w = block.w;
  const Index left = block.first + block.count - column;
  V sums[kTokens][kVectors];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sums[t][v] = S::zero();
  for (Index row = 0; row < w.rows; ++row) {
    const V levels = levels_of<S>(w, row);
    const std::uint8_t* codes = w.row(row) + column / 4;
    V values[kVectors];
    if (left >= kVectors * S::kLanes) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v)
        values[v] = S::values(levels, load_codes<S>(codes + v * S::kBytes));
    } else {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v)
        values[v] = S::values(levels, load_codes<S>(codes + v * S::kBytes, left - v * S::kLanes));
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const V dy = S::set(block.dy_TO(token + t, row));
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sums[t][v] = S::fma(dy, values[v], sums[t][v]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const Index rest = left - v * S::kLanes;
      float* dx = block.dx_TI.row(token + t) + column + v * S::kLanes;
      if (rest > 0) S::store(dx, sums[t][v], rest);
    }
}

template <class S, int kVectors, int kTokens>
[[gnu::always_inline]] inline void to_input_columns(const TwoBitBlockToInput& block, Index token) {
  const Index end = block.first + block.count;
  for (Index column = block.first; column < end; column += kVectors * S::kLanes)
    to_input_tile<S, kVectors, kTokens>(block, column, token);
}

template <class S>
[[gnu::always_inline]] inline void to_input_block(const TwoBitBlockToInput& block) {
  const Index tokens = block.dy_TO.size(0);
  Index t = 0;
  for (; t + 4 <= tokens; t += 4) to_input_columns<S, S::kVectors, 4>(block, t);
  for (; t < tokens; ++t) to_input_columns<S, S::kVectorsAlone, 1>(block, t);
}

}  // namespace
}  // namespace mote::kernels
