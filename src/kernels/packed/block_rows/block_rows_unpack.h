// Unpacking blocks of 16 rows into panels: a lane of 32 bits is a row, its four bytes neighbouring
// columns. Bytes of blocks, which lie a row's length apart, are transposed on the way.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/packed/block_rows/block_rows_matrix.h"

namespace mote::kernels {
namespace {

[[gnu::always_inline]] inline int word_at(const std::byte* p) {
  int word;
  __builtin_memcpy(&word, p, 4);
  return word;
}

struct WordsAvx2 : Avx2 {
  using W = __m256i;
  static constexpr int kRows = 8;
  [[gnu::always_inline]] static __m128i load16(const std::byte* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  // The four words from byte `at` on of each row.
  [[gnu::always_inline]] static void load4(const std::byte* const* rows, Index at, W (&words)[4]) {
    W a[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r)
      a[r] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(rows[r] + at)),
                                     load16(rows[r + 4] + at), 1);
    const W b = _mm256_unpacklo_epi32(a[0], a[1]), c = _mm256_unpackhi_epi32(a[0], a[1]),
            d = _mm256_unpacklo_epi32(a[2], a[3]), e = _mm256_unpackhi_epi32(a[2], a[3]);
    words[0] = _mm256_unpacklo_epi64(b, d);
    words[1] = _mm256_unpackhi_epi64(b, d);
    words[2] = _mm256_unpacklo_epi64(c, e);
    words[3] = _mm256_unpackhi_epi64(c, e);
  }
  [[gnu::always_inline]] static W load1(const std::byte* const* rows, Index at) {
    return _mm256_setr_epi32(word_at(rows[0] + at), word_at(rows[1] + at), word_at(rows[2] + at),
                             word_at(rows[3] + at), word_at(rows[4] + at), word_at(rows[5] + at),
                             word_at(rows[6] + at), word_at(rows[7] + at));
  }
  [[gnu::always_inline]] static W words(int each) {
    return _mm256_set1_epi32(each);
  }
  [[gnu::always_inline]] static W both(W a, W b) {
    return _mm256_and_si256(a, b);
  }
  [[gnu::always_inline]] static W either(W a, W b) {
    return _mm256_or_si256(a, b);
  }
  [[gnu::always_inline]] static W flipped(W a, W b) {
    return _mm256_xor_si256(a, b);
  }
  [[gnu::always_inline]] static W right(W a, int n) {
    return _mm256_srli_epi32(a, n);
  }
  [[gnu::always_inline]] static W left(W a, int n) {
    return _mm256_slli_epi32(a, n);
  }
  [[gnu::always_inline]] static W right_signed(W a, int n) {
    return _mm256_srai_epi32(a, n);
  }
  [[gnu::always_inline]] static W plus(W a, W b) {
    return _mm256_add_epi32(a, b);
  }
  [[gnu::always_inline]] static W minus(W a, W b) {
    return _mm256_sub_epi32(a, b);
  }
  [[gnu::always_inline]] static V floats(W a) {
    return _mm256_cvtepi32_ps(a);
  }
  // In lane i the sum of the lanes of v[i].
  [[gnu::always_inline]] static W sums_of_lanes(const W (&v)[8]) {
    const W low = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3])),
            high = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
    return plus(_mm256_permute2x128_si256(low, high, 0x20),
                _mm256_permute2x128_si256(low, high, 0x31));
  }
  // The float16 in the lower half of each word.
  [[gnu::always_inline]] static V halves(W a) {
    const W low = both(a, words(0xffff));
    return _mm256_cvtph_ps(
        _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
  }
  // The two words from byte `at` on of each row, of which 16 bytes can be read.
  [[gnu::always_inline]] static void load2(const std::byte* const* rows, Index at, W (&words)[2]) {
    __m128i pairs[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      pairs[i] = _mm_unpacklo_epi32(load16(rows[2 * i] + at), load16(rows[2 * i + 1] + at));
    words[0] =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi64(pairs[0], pairs[1])),
                                _mm_unpacklo_epi64(pairs[2], pairs[3]), 1);
    words[1] =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpackhi_epi64(pairs[0], pairs[1])),
                                _mm_unpackhi_epi64(pairs[2], pairs[3]), 1);
  }
  // Bits 4 j to 4 j + 3 of each word, each to bit 4 of a byte.
  [[gnu::always_inline]] static W fifth_bits(W a, int j) {
    const W first = _mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 0, 0, 0, 0,
                                     4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    const W from = plus(first, words(0x01010101 * (j / 2)));
    const W bit = words(static_cast<int>(j % 2 == 0 ? 0x08040201 : 0x80402010));
    const W chosen = both(_mm256_shuffle_epi8(a, from), bit);
    return both(_mm256_cmpeq_epi8(chosen, bit), words(0x10101010));
  }
  [[gnu::always_inline]] static W load_words(const void* p) {
    return _mm256_load_si256(static_cast<const W*>(p));
  }
  [[gnu::always_inline]] static void store_words(void* p, W a) {
    _mm256_store_si256(static_cast<W*>(p), a);
  }
};

#if defined(__AVX512F__)
struct WordsAvx512 : Avx512 {
  using W = __m512i;
  static constexpr int kRows = 16;
  [[gnu::always_inline]] static void load4(const std::byte* const* rows, Index at, W (&words)[4]) {
    W a[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const auto from = [&](int row) __attribute__((always_inline)) {
        return WordsAvx2::load16(rows[row] + at);
      };
      a[r] = _mm512_castsi128_si512(from(r));
      a[r] = _mm512_mask_broadcast_i32x4(a[r], 0x00f0, from(r + 4));
      a[r] = _mm512_mask_broadcast_i32x4(a[r], 0x0f00, from(r + 8));
      a[r] = _mm512_mask_broadcast_i32x4(a[r], 0xf000, from(r + 12));
    }
    const W b = _mm512_unpacklo_epi32(a[0], a[1]), c = _mm512_unpackhi_epi32(a[0], a[1]),
            d = _mm512_unpacklo_epi32(a[2], a[3]), e = _mm512_unpackhi_epi32(a[2], a[3]);
    words[0] = _mm512_unpacklo_epi64(b, d);
    words[1] = _mm512_unpackhi_epi64(b, d);
    words[2] = _mm512_unpacklo_epi64(c, e);
    words[3] = _mm512_unpackhi_epi64(c, e);
  }
  [[gnu::always_inline]] static W load1(const std::byte* const* rows, Index at) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(WordsAvx2::load1(rows, at)),
                              WordsAvx2::load1(rows + 8, at), 1);
  }
  [[gnu::always_inline]] static W words(int each) {
    return _mm512_set1_epi32(each);
  }
  [[gnu::always_inline]] static W both(W a, W b) {
    return _mm512_and_si512(a, b);
  }
  [[gnu::always_inline]] static W either(W a, W b) {
    return _mm512_or_si512(a, b);
  }
  [[gnu::always_inline]] static W flipped(W a, W b) {
    return _mm512_xor_si512(a, b);
  }
  [[gnu::always_inline]] static W right(W a, int n) {
    return _mm512_srli_epi32(a, static_cast<unsigned>(n));
  }
  [[gnu::always_inline]] static W left(W a, int n) {
    return _mm512_slli_epi32(a, static_cast<unsigned>(n));
  }
  [[gnu::always_inline]] static W right_signed(W a, int n) {
    return _mm512_srai_epi32(a, static_cast<unsigned>(n));
  }
  [[gnu::always_inline]] static W plus(W a, W b) {
    return _mm512_add_epi32(a, b);
  }
  [[gnu::always_inline]] static W minus(W a, W b) {
    return _mm512_sub_epi32(a, b);
  }
  [[gnu::always_inline]] static V floats(W a) {
    return _mm512_cvtepi32_ps(a);
  }
  [[gnu::always_inline]] static V halves(W a) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
  }
  [[gnu::always_inline]] static void load2(const std::byte* const* rows, Index at, W (&words)[2]) {
    __m256i low[2], high[2];
    WordsAvx2::load2(rows, at, low);
    WordsAvx2::load2(rows + 8, at, high);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      words[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low[i]), high[i], 1);
  }
  [[gnu::always_inline]] static W fifth_bits(W a, int j) {
    const W table = _mm512_setr_epi32(0, 0x10, 0x1000, 0x1010, 0x100000, 0x100010, 0x101000,
                                      0x101010, 0x10000000, 0x10000010, 0x10001000, 0x10001010,
                                      0x10100000, 0x10100010, 0x10101000, 0x10101010);
    return _mm512_permutexvar_epi32(right(a, 4 * j), table);  // by the lower four bits
  }
  [[gnu::always_inline]] static W load_words(const void* p) {
    return _mm512_load_si512(p);
  }
  [[gnu::always_inline]] static void store_words(void* p, W a) {
    _mm512_store_si512(p, a);
  }
};
#endif

// Rows `first` to first + kRows - 1 of panels that follow each other.
template <class S>
struct PanelRows {
  BlockPanel* panels;
  int first;
  [[gnu::always_inline]] void codes(int panel, int word, typename S::W w) const {
    S::store_words(panels[panel].codes[word][first], w);
  }
  [[gnu::always_inline]] void scale(int panel, int half, typename S::V v) const {
    S::store(panels[panel].scales[half] + first, v);
  }
  [[gnu::always_inline]] void offset(int panel, int half, typename S::V v) const {
    S::store(panels[panel].offsets[half] + first, v);
  }
};

// What each type is: kZero, the largest code, panels and bytes of a block, whether groups of 16 have a
// scale each, whether there are offsets, and unpack() of one block of each row to what takes codes, scales
// and offsets.
template <class S, class To>
[[gnu::always_inline]] inline void nibbles(const std::byte* const* rows, Index at, To& to, int low,
                                           int low_word, int high, int high_word) {
  typename S::W q[4];
  S::load4(rows, at, q);
  const typename S::W mask = S::words(0x0f0f0f0f);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    to.codes(low, low_word + j, S::both(q[j], mask));
    to.codes(high, high_word + j, S::both(S::right(q[j], 4), mask));
  }
}

struct BlockQ4_0 {
  static constexpr int kZero = 8, kMost = 15, kPanels = 1, kBytes = 18;
  static constexpr bool kHalves = false, kOffsets = false, kSignedBytes = false;
  template <class S, class To>
  [[gnu::always_inline]] static void unpack(const std::byte* const* rows, To& to) {
    to.scale(0, 0, S::halves(S::load1(rows, 0)));
    nibbles<S>(rows, 2, to, 0, 0, 0, 4);
  }
};

struct BlockQ4_1 {
  static constexpr int kZero = 0, kMost = 15, kPanels = 1, kBytes = 20;
  static constexpr bool kHalves = false, kOffsets = true, kSignedBytes = false;
  template <class S, class To>
  [[gnu::always_inline]] static void unpack(const std::byte* const* rows, To& to) {
    const typename S::W both = S::load1(rows, 0);
    to.scale(0, 0, S::halves(both));
    to.offset(0, 0, S::halves(S::right(both, 16)));
    nibbles<S>(rows, 4, to, 0, 0, 0, 4);
  }
};

struct BlockQ5_0 {
  static constexpr int kZero = 16, kMost = 31, kPanels = 1, kBytes = 22;
  static constexpr bool kHalves = false, kOffsets = false, kSignedBytes = false;
  template <class S, class To>
  [[gnu::always_inline]] static void unpack(const std::byte* const* rows, To& to) {
    using W = typename S::W;
    W head[2];
    S::load2(rows, 0, head);
    to.scale(0, 0, S::halves(head[0]));
    const W bits = S::either(S::right(head[0], 16), S::left(head[1], 16)),
            mask = S::words(0x0f0f0f0f);
    W q[4];
    S::load4(rows, 6, q);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      to.codes(0, j, S::either(S::both(q[j], mask), S::fifth_bits(bits, j)));
      to.codes(0, 4 + j, S::either(S::both(S::right(q[j], 4), mask), S::fifth_bits(bits, 4 + j)));
    }
  }
};

struct BlockQ8_0 {
  static constexpr int kZero = 128, kMost = 255, kPanels = 1, kBytes = 34;
  static constexpr bool kHalves = false, kOffsets = false, kSignedBytes = true;
  template <class S, class To>
  [[gnu::always_inline]] static void unpack(const std::byte* const* rows, To& to) {
    to.scale(0, 0, S::halves(S::load1(rows, 0)));
    const typename S::W flip = S::words(static_cast<int>(0x80808080));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      typename S::W q[4];
      S::load4(rows, 2 + 16 * half, q);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) to.codes(0, 4 * half + j, S::flipped(q[j], flip));
    }
  }
};

// Scales and offsets of eight groups of 32, as Q4_K and Q5_K have them.
template <class S, class To>
[[gnu::always_inline]] inline void eight_scales(const std::byte* const* rows, To& to) {
  using W = typename S::W;
  using V = typename S::V;
  W head[4];
  S::load4(rows, 0, head);
  const V d = S::halves(head[0]), d_min = S::halves(S::right(head[0], 16));
  const W six = S::words(63), four = S::words(15), upper = S::words(0x30);
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) {
    const W s = S::right(head[1], 8 * p), m = S::right(head[2], 8 * p),
            low = S::right(head[3], 8 * p);
    const auto put = [&](int panel, W scale, W least) __attribute__((always_inline)) {
      to.scale(panel, 0, S::mul(d, S::floats(scale)));
      to.offset(panel, 0, S::mul(S::mul(d_min, S::floats(least)), S::set(-1.0f)));
    };
    put(p, S::both(s, six), S::both(m, six));
    put(p + 4, S::either(S::both(low, four), S::both(S::right(s, 2), upper)),
        S::either(S::both(S::right(low, 4), four), S::both(S::right(m, 2), upper)));
  }
}

struct BlockQ4_K {
  static constexpr int kZero = 0, kMost = 15, kPanels = 8, kBytes = 144;
  static constexpr bool kHalves = false, kOffsets = true, kSignedBytes = false;
  template <class S, class To>
  [[gnu::always_inline]] static void unpack(const std::byte* const* rows, To& to) {
    eight_scales<S>(rows, to);
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair)
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half)
        nibbles<S>(rows, 16 + 32 * pair + 16 * half, to, 2 * pair, 4 * half, 2 * pair + 1,
                   4 * half);
  }
};

struct BlockQ5_K {
  static constexpr int kZero = 0, kMost = 31, kPanels = 8, kBytes = 176;
  static constexpr bool kHalves = false, kOffsets = true, kSignedBytes = false;
  template <class S, class To>
  [[gnu::always_inline]] static void unpack(const std::byte* const* rows, To& to) {
    using W = typename S::W;
    eight_scales<S>(rows, to);
    const W mask = S::words(0x0f0f0f0f), bit = S::words(0x01010101);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      W high[4];
      S::load4(rows, 16 + 16 * half, high);
#pragma GCC unroll 4
      for (int pair = 0; pair < 4; ++pair) {
        W q[4];
        S::load4(rows, 48 + 32 * pair + 16 * half, q);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const W bits = S::right(high[j], 2 * pair);
          to.codes(2 * pair, 4 * half + j,
                   S::either(S::both(q[j], mask), S::left(S::both(bits, bit), 4)));
          to.codes(2 * pair + 1, 4 * half + j,
                   S::either(S::both(S::right(q[j], 4), mask),
                             S::left(S::both(S::right(bits, 1), bit), 4)));
        }
      }
    }
  }
};

struct BlockQ6_K {
  static constexpr int kZero = 32, kMost = 63, kPanels = 8, kBytes = 210;
  static constexpr bool kHalves = true, kOffsets = false, kSignedBytes = false;
  template <class S, class To>
  [[gnu::always_inline]] static void unpack(const std::byte* const* rows, To& to) {
    using W = typename S::W;
    const typename S::V d = S::halves(S::right(S::load1(rows, 206), 16));
    W scales[4];
    S::load4(rows, 192, scales);
#pragma GCC unroll 4
    for (int word = 0; word < 4; ++word)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        to.scale(2 * word + i / 2, i % 2,
                 S::mul(d, S::floats(S::right_signed(S::left(scales[word], 24 - 8 * i), 24))));
    const W mask = S::words(0x0f0f0f0f), two = S::words(0x03030303);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        W high[4];
        S::load4(rows, 128 + 32 * h + 16 * half, high);
#pragma GCC unroll 2
        for (int k = 0; k < 2; ++k) {
          W low[4];
          S::load4(rows, 64 * h + 32 * k + 16 * half, low);
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            const auto above = [&](int by) __attribute__((always_inline)) {
              return S::left(S::both(S::right(high[j], by), two), 4);
            };
            to.codes(4 * h + k, 4 * half + j, S::either(S::both(low[j], mask), above(2 * k)));
            to.codes(4 * h + 2 + k, 4 * half + j,
                     S::either(S::both(S::right(low[j], 4), mask), above(4 + 2 * k)));
          }
        }
      }
  }
};

}  // namespace
}  // namespace mote::kernels
