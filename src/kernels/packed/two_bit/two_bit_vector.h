// Blocks of two-bit products with float32 activations. A vector of codes is rows of one tile; a
// shift brings a column to the lowest bits of every lane, a look-up makes it code - 1, a
// multiply-add does the rest:  y = scale (sum (code - 1) x - (zero - 1) sum x).  Both sums are one
// chain over the columns in order, so that a row whose weights are 0 gives exactly 0.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/packed/two_bit/two_bit_block.h"

namespace mote::kernels {
namespace {

struct TwoBitAvx2 : Avx2 {
  using I = __m256i;
  static constexpr int kPanels = 2;        // in step for one token
  static constexpr int kColumns = 2;       // of dx in step for four tokens
  static constexpr int kColumnsAlone = 8;  // for one
  [[gnu::always_inline]] static I load_codes(const std::uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  [[gnu::always_inline]] static I shift(I codes, int bits) {
    return _mm256_srli_epi32(codes, bits);
  }
  [[gnu::always_inline]] static V minus_one(I codes) {
    return _mm256_permutevar_ps(_mm256_setr_ps(-1, 0, 1, 2, -1, 0, 1, 2), codes);
  }
  [[gnu::always_inline]] static V from_bf16s(const Bf16* p) {
    const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
  }
  [[gnu::always_inline]] static V from_bytes(const std::uint8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
  }
  [[gnu::always_inline]] static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
};

#if defined(__AVX512F__)
struct TwoBitAvx512 : Avx512 {
  using I = __m512i;
  static constexpr int kPanels = 4, kColumns = 4, kColumnsAlone = 16;
  [[gnu::always_inline]] static I load_codes(const std::uint8_t* p) {
    return _mm512_loadu_si512(p);
  }
  [[gnu::always_inline]] static I shift(I codes, int bits) {
    return _mm512_srli_epi32(codes, static_cast<unsigned>(bits));
  }
  [[gnu::always_inline]] static V minus_one(I codes) {
    return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_setr_ps(-1, 0, 1, 2)), codes);
  }
  [[gnu::always_inline]] static V from_bf16s(const Bf16* p) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
  }
  [[gnu::always_inline]] static V from_bytes(const std::uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
  }
  [[gnu::always_inline]] static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
};
#endif

// Codes come from memory once, in order. What the processor fetches by itself is too little and ends
// at every page, so the line is asked for that will be read some time after this one.
[[gnu::always_inline]] inline void prefetch(const std::uint8_t* tile) {
  constexpr Index kAhead = 2048;  // bytes
  __builtin_prefetch(tile + kAhead);
}

// Where column `c` of a tile lies in a lane.
[[gnu::always_inline]] constexpr int bits_below(int c) {
  return 8 * (c % 4) + 2 * (c / 4);
}

// Scales and zeros of the rows of one panel, zeros beyond the last row.
struct PanelLevels {
  const Bf16* scales;
  const std::uint8_t* zeros;
  Bf16 scales_copy[kTwoBitSide];
  std::uint8_t zeros_copy[kTwoBitSide];

  [[gnu::always_inline]] PanelLevels(const TwoBitMatrix& w, Index panel) {
    const Index first = panel * kTwoBitSide, left = w.rows - first;
    scales = w.scales_R + first;
    zeros = w.zeros_R + first;
    if (left >= kTwoBitSide) return;
    for (Index r = 0; r < kTwoBitSide; ++r) {
      scales_copy[r] = r < left ? scales[r] : Bf16{0};
      zeros_copy[r] = r < left ? zeros[r] : std::uint8_t{0};
    }
    scales = scales_copy;
    zeros = zeros_copy;
  }
};

// kPanels panels times kTokens tokens.
template <class S, int kPanels, int kTokens>
struct TwoBitTile {
  using V = typename S::V;
  static constexpr int kVectors = static_cast<int>(kTwoBitSide) / S::kLanes;  // of a panel
  static constexpr int kRows = kPanels * kVectors;

  V sums[kRows][kTokens];
  typename S::I codes[kRows];

  [[gnu::always_inline]] void load(const TwoBitMatrix& w, Index panel, Index group) {
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) {
      const std::uint8_t* p = w.panel(panel + k / kVectors) + group * kTwoBitTile;
      codes[k] = S::load_codes(p + k % kVectors * 4 * S::kLanes);
      if (k % kVectors == 0) prefetch(p);
    }
  }
  // Column `c` of the loaded tile, which is `column` of x.
  [[gnu::always_inline]] void add(const TwoBitBlock& block, Index token, Index column, int c) {
    V x[kTokens];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) x[t] = S::broadcast(block.x.row(token + t) + column);
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) {
      const V values = S::minus_one(S::shift(codes[k], bits_below(c)));
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) sums[k][t] = S::fma(values, x[t], sums[k][t]);
    }
  }
  [[gnu::always_inline]] void finish(const TwoBitBlock& block, Index panel, Index token) {
    const Index end = block.first + block.count;
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const PanelLevels levels(block.w, panel + p);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const Index row = (panel + p) * kTwoBitSide + v * S::kLanes;
        if (row >= end) continue;
        const V scale = S::from_bf16s(levels.scales + v * S::kLanes);
        const V zero = S::sub(S::set(1.0f), S::from_bytes(levels.zeros + v * S::kLanes));
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          const std::byte* all = block.layout + (token + t) * kTwoBitSums;
          const V y = S::mul(scale, S::fma(zero, S::broadcast(reinterpret_cast<const float*>(all)),
                                           sums[p * kVectors + v][t]));
          S::store(block.y.row(token + t) + row, y, end - row);
        }
      }
    }
  }
  [[gnu::always_inline]] void run(const TwoBitBlock& block, Index panel, Index token) {
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k)
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) sums[k][t] = S::zero();
    const Index whole = block.w.columns / kTwoBitSide * kTwoBitSide;
    for (Index first = 0; first < whole; first += kTwoBitSide) {
      load(block.w, panel, first / kTwoBitSide);
#pragma GCC unroll 16
      for (int c = 0; c < kTwoBitSide; ++c) add(block, token, first + c, c);
    }
    if (whole < block.w.columns) load(block.w, panel, whole / kTwoBitSide);
    for (Index i = whole; i < block.w.columns; ++i)
      add(block, token, i, static_cast<int>(i - whole));
    finish(block, panel, token);
  }
};

template <class S, int kPanels, int kTokens>
[[gnu::always_inline]] inline void two_bit_tile(const TwoBitBlock& block, Index panel,
                                                Index token) {
  TwoBitTile<S, kPanels, kTokens> tile;
  tile.run(block, panel, token);
}

// Four tokens share what is decoded of a panel; those left over go through several panels in step.
template <class S>
[[gnu::always_inline]] inline void two_bit_block(const TwoBitBlock& block) {
  const Index end = two_bit_tiles(block.first + block.count), tokens = block.x.size(0);
  const Index begin = block.first / kTwoBitSide, shared = tokens / 4 * 4;
  for (Index panel = begin; panel < end; ++panel)
    for (Index t = 0; t < shared; t += 4) two_bit_tile<S, 1, 4>(block, panel, t);
  for (Index t = shared; t < tokens; ++t) {
    Index panel = begin;
    for (; panel + S::kPanels <= end; panel += S::kPanels)
      two_bit_tile<S, S::kPanels, 1>(block, panel, t);
    for (; panel < end; ++panel) two_bit_tile<S, 1, 1>(block, panel, t);
  }
}

// kColumns columns of dx from `column` on, within one tile: a chain per lane over the panels, and
// the lanes together at the end.
template <class S, int kColumns, int kTokens>
[[gnu::always_inline]] inline void to_input_columns(const TwoBitBlock& block, Index column,
                                                    Index token) {
  using V = typename S::V;
  using I = typename S::I;
  const TwoBitMatrix& w = block.w;
  const Index padded = two_bit_padded(w.rows), tile = column / kTwoBitSide * kTwoBitTile;
  const float* dy = reinterpret_cast<const float*>(block.layout);
  const float* zeros = dy + block.x.size(0) * padded;
  V sums[kColumns][kTokens];
#pragma GCC unroll 16
  for (int c = 0; c < kColumns; ++c)
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) sums[c][t] = S::zero();
  const int first_bits = bits_below(static_cast<int>(column % kTwoBitSide));
  for (Index row = 0; row < padded; row += S::kLanes) {
    const I codes = S::shift(
        S::load_codes(w.panel(row / kTwoBitSide) + tile + row % kTwoBitSide * 4), first_bits);
    const V zero = S::sub(S::load(zeros + row), S::set(1.0f));
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) {
      const V values = S::sub(S::minus_one(S::shift(codes, bits_below(c))), zero);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
        sums[c][t] = S::fma(values, S::load(dy + (token + t) * padded + row), sums[c][t]);
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < kColumns; ++c)
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
      if (column + c < w.columns) block.y(token + t, column + c) = S::sum(sums[c][t]);
}

template <class S, int kColumns, int kTokens>
[[gnu::always_inline]] inline void to_input_tokens(const TwoBitBlock& block, Index token) {
  for (Index column = block.first; column < block.first + block.count; column += kColumns)
    to_input_columns<S, kColumns, kTokens>(block, column, token);
}

template <class S>
[[gnu::always_inline]] inline void two_bit_to_input(const TwoBitBlock& block) {
  const Index tokens = block.x.size(0);
  Index t = 0;
  for (; t + 4 <= tokens; t += 4) to_input_tokens<S, S::kColumns, 4>(block, t);
  for (; t < tokens; ++t) to_input_tokens<S, S::kColumnsAlone, 1>(block, t);
}

}  // namespace
}  // namespace mote::kernels
