// Blocks of two-bit products with 8-bit activations:  y = s scale (sum code x8 - zero sum x8).
//
// A lane of 32 bits holds 16 codes of a row. Masks leave four of them in place, as bytes that are
// the codes times 1, 4, 16 or 64, and bytes are multiplied with four neighbouring x8 that all rows
// share. What was multiplied too much is shifted out at the end, exactly.
#pragma once

#include "kernels/packed/product/int8_rows_vector.h"
#include "kernels/packed/two_bit/two_bit_block.h"
#include "kernels/packed/two_bit/two_bit_vector.h"

namespace mote::kernels {
namespace {

struct BytesAvx2 : TwoBitAvx2 {
  using Int8 = Int8Avx2;
  static constexpr int kStep = 1, kStepTokens = 2;  // panels for one token, tokens for one panel
  [[gnu::always_inline]] static I none() { return _mm256_setzero_si256(); }
  [[gnu::always_inline]] static I bytes(int each) {
    return _mm256_set1_epi8(static_cast<char>(each));
  }
  [[gnu::always_inline]] static I four(const std::int8_t* x8) {
    std::int32_t word;
    __builtin_memcpy(&word, x8, 4);
    return _mm256_set1_epi32(word);
  }
  [[gnu::always_inline]] static I masked(I a, I b) { return _mm256_and_si256(a, b); }
  [[gnu::always_inline]] static I pairs(I codes, I x8) { return _mm256_maddubs_epi16(codes, x8); }
  [[gnu::always_inline]] static I add16(I a, I b) { return _mm256_add_epi16(a, b); }
  [[gnu::always_inline]] static I add32(I a, I b) { return _mm256_add_epi32(a, b); }
  // Both halves of a lane, times `factor`.
  [[gnu::always_inline]] static I joined(I words, int factor) {
    return _mm256_madd_epi16(words, _mm256_set1_epi16(static_cast<short>(factor)));
  }
  [[gnu::always_inline]] static I halved(I a, int times) { return _mm256_srai_epi32(a, times); }
  [[gnu::always_inline]] static I times(I a, std::int32_t b) {
    return _mm256_mullo_epi32(a, _mm256_set1_epi32(b));
  }
  [[gnu::always_inline]] static I minus(I a, I b) { return _mm256_sub_epi32(a, b); }
  [[gnu::always_inline]] static I zeros(const std::uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  [[gnu::always_inline]] static V floats(I a) { return _mm256_cvtepi32_ps(a); }
};

#if defined(__AVX512BW__)
struct BytesAvx512 : TwoBitAvx512 {
  using Int8 = Int8Avx512;
  static constexpr int kStep = 2, kStepTokens = 4;
  [[gnu::always_inline]] static I none() { return _mm512_setzero_si512(); }
  [[gnu::always_inline]] static I bytes(int each) {
    return _mm512_set1_epi8(static_cast<char>(each));
  }
  [[gnu::always_inline]] static I four(const std::int8_t* x8) {
    std::int32_t word;
    __builtin_memcpy(&word, x8, 4);
    return _mm512_set1_epi32(word);
  }
  [[gnu::always_inline]] static I masked(I a, I b) { return _mm512_and_si512(a, b); }
  [[gnu::always_inline]] static I pairs(I codes, I x8) { return _mm512_maddubs_epi16(codes, x8); }
  [[gnu::always_inline]] static I add16(I a, I b) { return _mm512_add_epi16(a, b); }
  [[gnu::always_inline]] static I add32(I a, I b) { return _mm512_add_epi32(a, b); }
  [[gnu::always_inline]] static I joined(I words, int factor) {
    return _mm512_madd_epi16(words, _mm512_set1_epi16(static_cast<short>(factor)));
  }
  [[gnu::always_inline]] static I halved(I a, int times) {
    return _mm512_srai_epi32(a, static_cast<unsigned>(times));
  }
  [[gnu::always_inline]] static I times(I a, std::int32_t b) {
    return _mm512_mullo_epi32(a, _mm512_set1_epi32(b));
  }
  [[gnu::always_inline]] static I minus(I a, I b) { return _mm512_sub_epi32(a, b); }
  [[gnu::always_inline]] static I zeros(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  [[gnu::always_inline]] static V floats(I a) { return _mm512_cvtepi32_ps(a); }
};
#endif

// Sums of products of bytes for one vector of rows, in 16 bits for a while. A pair of products is
// at most 2 * 3 * 127 = 762 in size, four times that where the mask left codes times 4: with two of
// those per tile, sums of five tiles are at most 30,480.
template <class S>
struct PairSums {
  static constexpr Index kTilesBetweenFlushes = 5;
  typename S::I once, fourfold, total;  // total: four times the sum

  [[gnu::always_inline]] void clear() { once = fourfold = total = S::none(); }
  template <class Codes>
  [[gnu::always_inline]] void add(const Codes& codes, const typename S::I (&x8)[4]) {
    once = S::add16(once, S::add16(S::pairs(codes.low, x8[0]), S::pairs(codes.low_above, x8[2])));
    fourfold = S::add16(fourfold,
                        S::add16(S::pairs(codes.high, x8[1]), S::pairs(codes.high_above, x8[3])));
  }
  [[gnu::always_inline]] void flush() {
    total = S::add32(total, S::add32(S::joined(once, 4), S::joined(fourfold, 1)));
    once = fourfold = S::none();
  }
  [[gnu::always_inline]] typename S::I sum() const { return S::halved(total, 2); }
};

// The codes of a vector of a tile by where their bits were: 0, 2, 4 and 6.
template <class S>
struct MaskedCodes {
  typename S::I low, high, low_above, high_above;
  [[gnu::always_inline]] explicit MaskedCodes(const std::uint8_t* p) {
    const typename S::I codes = S::load_codes(p), above = S::shift(codes, 4);
    low = S::masked(codes, S::bytes(0x03));
    high = S::masked(codes, S::bytes(0x0c));
    low_above = S::masked(above, S::bytes(0x03));
    high_above = S::masked(above, S::bytes(0x0c));
  }
};

#if defined(__AVXVNNI__)
struct BytesAvx2Vnni : BytesAvx2 {
  [[gnu::always_inline]] static I dot(I sum, I codes, I x8) {
    return _mm256_dpbusd_avx_epi32(sum, codes, x8);
  }
};
#endif

#if defined(__AVX512VNNI__)
struct BytesAvx512Vnni : BytesAvx512 {
  [[gnu::always_inline]] static I dot(I sum, I codes, I x8) {
    return _mm512_dpbusd_epi32(sum, codes, x8);
  }
};
#endif

// The same with sums of 32 bits from the start, four of them: none can overflow up to
// kMostInt8Columns columns.
template <class S>
struct DotSums {
  static constexpr Index kTilesBetweenFlushes = Index{1} << 40;
  typename S::I by_place[4];

  [[gnu::always_inline]] void clear() {
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) by_place[s] = S::none();
  }
  template <class Codes>
  [[gnu::always_inline]] void add(const Codes& codes, const typename S::I (&x8)[4]) {
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) by_place[s] = S::dot(by_place[s], codes.by_place[s], x8[s]);
  }
  [[gnu::always_inline]] void flush() {}
  [[gnu::always_inline]] typename S::I sum() const {
    return S::add32(S::add32(by_place[0], S::halved(by_place[1], 2)),
                    S::add32(S::halved(by_place[2], 4), S::halved(by_place[3], 6)));
  }
};

template <class S>
struct PlacedCodes {
  typename S::I by_place[4];
  [[gnu::always_inline]] explicit PlacedCodes(const std::uint8_t* p) {
    const typename S::I codes = S::load_codes(p);
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) by_place[s] = S::masked(codes, S::bytes(3 << 2 * s));
  }
};

// y of one vector of rows for one token.
template <class S>
[[gnu::always_inline]] inline void finish_int8(const TwoBitBlock& block, const PanelLevels& levels,
                                               Index row, Index token, typename S::I sum) {
  const Index end = block.first + block.count, lane = row % kTwoBitSide;
  if (row >= end) return;
  const Int8Row& x8 = int8_row(block.layout, block.w.columns, token);
  const typename S::I whole = S::minus(sum, S::times(S::zeros(levels.zeros + lane), x8.sum));
  const typename S::V y =
      S::mul(S::mul(S::floats(whole), S::from_bf16s(levels.scales + lane)), S::set(x8.scale));
  S::store(block.y.row(token) + row, y, end - row);
}

template <class S, class Codes, class Sums, int kPanels, int kTokens>
[[gnu::always_inline]] inline void int8_tile(const TwoBitBlock& block, Index panel, Index token) {
  constexpr int kVectors = static_cast<int>(kTwoBitSide) / S::kLanes, kRows = kPanels * kVectors;
  Sums sums[kRows][kTokens];
  const std::int8_t* x8[kTokens];
  const Index groups = two_bit_tiles(block.w.columns);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    x8[t] = int8_values(int8_row(block.layout, block.w.columns, token + t));
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) sums[k][t].clear();
  }
  const std::uint8_t* codes[kRows];
#pragma GCC unroll 8
  for (int k = 0; k < kRows; ++k)
    codes[k] = block.w.panel(panel + k / kVectors) + k % kVectors * 4 * S::kLanes;
  for (Index group = 0; group < groups;) {
    const Index left = groups - group;
    const Index stop =
        group + (left < Sums::kTilesBetweenFlushes ? left : Sums::kTilesBetweenFlushes);
    for (; group < stop; ++group) {
      typename S::I x[kTokens][4];
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s) x[t][s] = S::four(x8[t] + group * kTwoBitSide + 4 * s);
#pragma GCC unroll 8
      for (int k = 0; k < kRows; ++k) {
        const Codes some(codes[k] + group * kTwoBitTile);
        if (k % kVectors == 0) prefetch(codes[k] + group * kTwoBitTile);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) sums[k][t].add(some, x[t]);
      }
    }
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k)
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) sums[k][t].flush();
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const PanelLevels levels(block.w, panel + p);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
        finish_int8<S>(block, levels, (panel + p) * kTwoBitSide + v * S::kLanes, token + t,
                       sums[p * kVectors + v][t].sum());
  }
}

template <class S, class Codes, class Sums>
[[gnu::always_inline]] inline void int8_block(const TwoBitBlock& block) {
  const Index end = two_bit_tiles(block.first + block.count), tokens = block.x.size(0);
  const Index begin = block.first / kTwoBitSide, shared = tokens / S::kStepTokens * S::kStepTokens;
  for (Index panel = begin; panel < end; ++panel)
    for (Index t = 0; t < shared; t += S::kStepTokens)
      int8_tile<S, Codes, Sums, 1, S::kStepTokens>(block, panel, t);
  for (Index t = shared; t < tokens; ++t) {
    Index panel = begin;
    for (; panel + S::kStep <= end; panel += S::kStep)
      int8_tile<S, Codes, Sums, S::kStep, 1>(block, panel, t);
    for (; panel < end; ++panel) int8_tile<S, Codes, Sums, 1, 1>(block, panel, t);
  }
}

template <class S>
[[gnu::always_inline]] inline void lay_out_int8(const TwoBitLayout& to) {
  for (Index t = 0; t < to.x.size(0); ++t)
    round_to_int8<typename S::Int8>(to.x.row(t), to.w.columns,
                                    to.layout + t * int8_row_bytes(to.w.columns));
}

}  // namespace
}  // namespace mote::kernels
