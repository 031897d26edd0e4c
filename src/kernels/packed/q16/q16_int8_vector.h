// Blocks of q16 products with 8-bit activations: sums of 16-bit lanes for a chunk of tokens, of
// 32-bit lanes for one.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/packed/q16/q16_block.h"

namespace mote::kernels {
namespace {

// 32 lanes of 16 bits.
struct WordsAvx2 {
  struct V {
    __m256i a, b;
  };
  [[gnu::always_inline]] static V zero() {
    return {_mm256_setzero_si256(), _mm256_setzero_si256()};
  }
  [[gnu::always_inline]] static V load(const std::int16_t* p) {
    const __m256i* at = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
  }
  [[gnu::always_inline]] static void store(std::int16_t* p, V v) {
    __m256i* at = reinterpret_cast<__m256i*>(p);
    _mm256_storeu_si256(at, v.a);
    _mm256_storeu_si256(at + 1, v.b);
  }
  [[gnu::always_inline]] static V add_masked(V sum, V x, std::int16_t mask) {
    const __m256i m = _mm256_set1_epi16(mask);
    return {_mm256_add_epi16(sum.a, _mm256_and_si256(x.a, m)),
            _mm256_add_epi16(sum.b, _mm256_and_si256(x.b, m))};
  }
};

#if defined(__AVX512BW__)
struct WordsAvx512 {
  using V = __m512i;
  [[gnu::always_inline]] static V zero() { return _mm512_setzero_si512(); }
  [[gnu::always_inline]] static V load(const std::int16_t* p) { return _mm512_loadu_si512(p); }
  [[gnu::always_inline]] static void store(std::int16_t* p, V v) { _mm512_storeu_si512(p, v); }
  [[gnu::always_inline]] static V add_masked(V sum, V x, std::int16_t mask) {
    return _mm512_add_epi16(sum, _mm512_and_si512(x, _mm512_set1_epi16(mask)));
  }
};
#endif

constexpr int kInt8Slots = 3;  // nonzero trits of a codeword, at most
constexpr int kInt8Lanes = static_cast<int>(kQ16Int8Tokens);
constexpr Index kFlush = 256;  // codewords whose sums fit 16 bits: 256 * 127 < 2^15

// For the byte of a slot: all ones where it adds to S+ (trit 2), and where to S- (trit 1).
struct MaskTable {
  std::int16_t plus[128], minus[128];
};
constexpr MaskTable make_masks() {
  MaskTable made{};
  for (int byte = 0; byte < 128; ++byte) {
    made.plus[byte] = byte % 4 == 2 ? -1 : 0;
    made.minus[byte] = byte % 4 == 1 ? -1 : 0;
  }
  return made;
}
constexpr MaskTable kMasks = make_masks();

[[gnu::always_inline]] inline std::uint32_t int8_slot(std::uint32_t entry, int slot) {
  return entry >> 8 * slot & 0xff;
}

[[gnu::always_inline]] inline const float* int8_scales(const Q16Block& block) {
  return reinterpret_cast<const float*>(block.layout);
}
template <class T>
[[gnu::always_inline]] inline const T* int8_layout(const Q16Block& block) {
  return reinterpret_cast<const T*>(block.layout + 4 * kQ16Int8Tokens);
}

[[gnu::always_inline]] inline float finished(const Q16Matrix& w, Index row, std::int32_t plus,
                                             std::int32_t minus, float scale) {
  const float above = w.maximum(row) * static_cast<float>(plus);
  return scale * __builtin_fmaf(w.minimum(row), static_cast<float>(minus), above);
}

void int8_block_of_one_token(const Q16Block& block) {
  const Q16Matrix& w = block.w;
  for (Index k = 0; k < block.count; ++k) {
    const Index row = block.first + k;
    __m128i sums[kInt8Slots] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    const std::int32_t* quads = int8_layout<std::int32_t>(block);
    const std::uint16_t* end = w.codes + w.row_end(row);
    for (const std::uint16_t* code = w.codes + w.row_begin(row); code < end; ++code) {
      const std::uint32_t entry = w.entries[*code];
#pragma GCC unroll 3
      for (int s = 0; s < kInt8Slots; ++s) {
        const std::int32_t* pair = quads + int8_slot(entry, s);
        const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(pair));
        sums[s] = _mm_add_epi32(sums[s], x);
      }
      quads += 8 * q16_pairs(entry);
    }
    const __m128i sum = _mm_add_epi32(_mm_add_epi32(sums[0], sums[1]), sums[2]);
    block.y.data[row] =
        finished(w, row, _mm_cvtsi128_si32(sum), _mm_extract_epi32(sum, 1), int8_scales(block)[0]);
  }
}

template <class S>
struct WordSums {
  typename S::V plus[kInt8Slots], minus[kInt8Slots];

  [[gnu::always_inline]] void clear() {
#pragma GCC unroll 3
    for (int s = 0; s < kInt8Slots; ++s) plus[s] = minus[s] = S::zero();
  }
  [[gnu::always_inline]] void add(std::uint32_t entry, const std::int16_t* x) {
#pragma GCC unroll 3
    for (int s = 0; s < kInt8Slots; ++s) {
      const std::uint32_t byte = int8_slot(entry, s);
      const typename S::V lanes = S::load(x + (byte >> 2) * kInt8Lanes);
      plus[s] = S::add_masked(plus[s], lanes, kMasks.plus[byte]);
      minus[s] = S::add_masked(minus[s], lanes, kMasks.minus[byte]);
    }
  }
  [[gnu::always_inline]] void flush(std::int32_t* plus_L, std::int32_t* minus_L) {
    std::int16_t words[kInt8Lanes];
    for (int s = 0; s < kInt8Slots; ++s) {
      S::store(words, plus[s]);
      for (int t = 0; t < kInt8Lanes; ++t) plus_L[t] += words[t];
      S::store(words, minus[s]);
      for (int t = 0; t < kInt8Lanes; ++t) minus_L[t] += words[t];
    }
    clear();
  }
};

template <class S>
void int8_block_of_tokens(const Q16Block& block) {
  const Q16Matrix& w = block.w;
  alignas(64) float y_RL[kQ16BlockRows * kInt8Lanes];
  float scales[kInt8Lanes] = {};
  const Index tokens = block.y.size(0);
  for (Index t = 0; t < tokens; ++t) scales[t] = int8_scales(block)[t];
  for (Index k = 0; k < block.count; ++k) {
    const Index row = block.first + k;
    alignas(64) std::int32_t plus[kInt8Lanes] = {}, minus[kInt8Lanes] = {};
    WordSums<S> sums;
    sums.clear();
    const std::int16_t* x = int8_layout<std::int16_t>(block);
    const std::uint16_t* code = w.codes + w.row_begin(row);
    const std::uint16_t* end = w.codes + w.row_end(row);
    while (code < end) {
      const std::uint16_t* stop = end - code > kFlush ? code + kFlush : end;
      for (; code < stop; ++code) {
        const std::uint32_t entry = w.entries[*code];
        sums.add(entry, x);
        x += 2 * kInt8Lanes * q16_pairs(entry);
      }
      sums.flush(plus, minus);
    }
    for (int t = 0; t < kInt8Lanes; ++t)
      y_RL[k * kInt8Lanes + t] = finished(w, row, plus[t], minus[t], scales[t]);
  }
  for (Index t = 0; t < tokens; ++t) {
    float* y = block.y.row(t) + block.first;
    for (Index k = 0; k < block.count; ++k) y[k] = y_RL[k * kInt8Lanes + t];
  }
}

template <class S>
[[gnu::always_inline]] inline void q16_int8_block(const Q16Block& block) {
  if (block.y.size(0) == 1) return int8_block_of_one_token(block);
  int8_block_of_tokens<S>(block);
}

}  // namespace
}  // namespace mote::kernels
