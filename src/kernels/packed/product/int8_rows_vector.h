// Rounding activations to 8 bits in vector files. Divisions, so that every variant rounds alike.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/packed/product/int8_rows.h"

namespace mote::kernels {
namespace {

struct Int8Avx2 : Avx2 {
  using I = __m256i;
  [[gnu::always_inline]] static V divide(V a, V b) { return _mm256_div_ps(a, b); }
  [[gnu::always_inline]] static I whole(V v) { return _mm256_cvtps_epi32(v); }
  [[gnu::always_inline]] static I add(I a, I b) { return _mm256_add_epi32(a, b); }
  using Avx2::add;
  [[gnu::always_inline]] static I none() { return _mm256_setzero_si256(); }
  [[gnu::always_inline]] static void store(std::int8_t* p, I v) {
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }
  using Avx2::store;
  [[gnu::always_inline]] static std::int32_t total(I v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
  }
};

#if defined(__AVX512F__)
struct Int8Avx512 : Avx512 {
  using I = __m512i;
  [[gnu::always_inline]] static V divide(V a, V b) { return _mm512_div_ps(a, b); }
  [[gnu::always_inline]] static I whole(V v) { return _mm512_cvtps_epi32(v); }
  [[gnu::always_inline]] static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  using Avx512::add;
  [[gnu::always_inline]] static I none() { return _mm512_setzero_si512(); }
  [[gnu::always_inline]] static void store(std::int8_t* p, I v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(v));
  }
  using Avx512::store;
  [[gnu::always_inline]] static std::int32_t total(I v) {
    return Int8Avx2::total(
        _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)));
  }
};
#endif

// One row of x into its place in a layout.
template <class S>
[[gnu::always_inline]] inline void round_to_int8(const float* x, Index columns, std::byte* place) {
  using V = typename S::V;
  const V minus = S::set(-1.0f), most = S::set(127.0f), least = S::set(-127.0f);
  const Index whole = columns / S::kLanes * S::kLanes;
  V largest = S::zero();
  for (Index i = 0; i < whole; i += S::kLanes) {
    const V v = S::load(x + i);
    largest = S::max(largest, S::max(v, S::mul(v, minus)));
  }
  const V last = S::load(x + whole, columns - whole);
  largest = S::max(largest, S::max(last, S::mul(last, minus)));

  Int8Row row;
  row.scale = S::largest(largest) / 127;
  auto* x8 = reinterpret_cast<std::int8_t*>(place + sizeof(Int8Row));
  const Index padded = (columns + 63) / 64 * 64;
  typename S::I sum = S::none();
  Index i = 0;
  if (row.scale > 0) {
    const V scale = S::set(row.scale);
    const auto rounded = [&](V v) __attribute__((always_inline)) {
      return S::whole(S::max(least, S::min(most, S::divide(v, scale))));
    };
    for (; i < whole; i += S::kLanes) {
      const typename S::I v = rounded(S::load(x + i));
      sum = S::add(sum, v);
      S::store(x8 + i, v);
    }
    if (i < columns) {
      const typename S::I v = rounded(last);
      sum = S::add(sum, v);
      S::store(x8 + i, v);
      i += S::kLanes;
    }
  }
  for (; i < padded; i += S::kLanes) S::store(x8 + i, S::none());
  row.sum = S::total(sum);
  *reinterpret_cast<Int8Row*>(place) = row;
}

}  // namespace
}  // namespace mote::kernels
