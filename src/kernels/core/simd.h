// The vector registers that kernels are written for: one struct per instruction set with the same
// operations.
//
// Included by variant files only, after the flags of their instruction set. Everything here is
// internal to the including file and always inlined, so that no copy of it can be picked by the
// linker for another file.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>

#include "kernels/core/dtype.h"
#include "kernels/core/view.h"

namespace mote::kernels {
namespace {

struct Avx2 {
  using V = __m256;
  static constexpr int kLanes = 8;
  [[gnu::always_inline]] static V zero() { return _mm256_setzero_ps(); }
  [[gnu::always_inline]] static V set(float x) { return _mm256_set1_ps(x); }
  [[gnu::always_inline]] static V broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  [[gnu::always_inline]] static V load(const float* p) { return _mm256_loadu_ps(p); }
  [[gnu::always_inline]] static void store(float* p, V v) { _mm256_storeu_ps(p, v); }
  [[gnu::always_inline]] static V add(V a, V b) { return _mm256_add_ps(a, b); }
  [[gnu::always_inline]] static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  [[gnu::always_inline]] static V div(V a, V b) { return _mm256_div_ps(a, b); }
  [[gnu::always_inline]] static V sqrt(V a) { return _mm256_sqrt_ps(a); }
  [[gnu::always_inline]] static V max(V a, V b) { return _mm256_max_ps(a, b); }
  [[gnu::always_inline]] static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  [[gnu::always_inline]] static __m256i mask(Index n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : static_cast<int>(n)), lane);
  }
  // The first n lanes; the others are 0 or stay untouched in memory.
  [[gnu::always_inline]] static V load(const float* p, Index n) {
    return _mm256_maskload_ps(p, mask(n));
  }
  [[gnu::always_inline]] static void store(float* p, V v, Index n) {
    _mm256_maskstore_ps(p, mask(n), v);
  }
  // Stored bfloat16 and float16, all lanes or the first n.
  [[gnu::always_inline]] static V load_bf16(const Bf16* p) {
    return widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  [[gnu::always_inline]] static V load_bf16(const Bf16* p, Index n) {
    return widen_bf16(load_halves(p, n));
  }
  [[gnu::always_inline]] static V load_f16(const F16* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  [[gnu::always_inline]] static V load_f16(const F16* p, Index n) {
    return _mm256_cvtph_ps(load_halves(p, n));
  }
  [[gnu::always_inline]] static V widen_bf16(__m128i halves) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  [[gnu::always_inline]] static __m128i load_halves(const std::uint16_t* p, Index n) {
    std::uint16_t part[8] = {};
    for (Index i = 0; i < 8 && i < n; ++i) part[i] = p[i];
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(part));
  }
  // To the nearest bfloat16, ties to even; NaN stays NaN.
  [[gnu::always_inline]] static V round_to_bf16(V v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_and_si256(up, _mm256_set1_epi32(-0x10000));
    return _mm256_blendv_ps(_mm256_castsi256_ps(rounded), v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  }
  [[gnu::always_inline]] static V min(V a, V b) { return _mm256_min_ps(a, b); }
  [[gnu::always_inline]] static V round(V x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // x * 2^n for whole n in [-126, 127].
  [[gnu::always_inline]] static V scale_by_power(V x, V n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return mul(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
  // The first n lanes of v, else `fill`.
  [[gnu::always_inline]] static V first(V v, V fill, Index n) {
    return _mm256_blendv_ps(fill, v, _mm256_castsi256_ps(mask(n)));
  }
  [[gnu::always_inline]] static float largest(V v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  // v in the lanes where x > 0, else 0.
  [[gnu::always_inline]] static V where_positive(V x, V v) {
    return _mm256_and_ps(_mm256_cmp_ps(x, zero(), _CMP_GT_OQ), v);
  }
  [[gnu::always_inline]] static float sum(V v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  // In place: row i of the result is column i of the eight rows.
  [[gnu::always_inline]] static void transpose(V (&r)[8]) {
    V t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
      r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
      t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = t[i];
  }
};

#if defined(__AVX512F__)
struct Avx512 {
  using V = __m512;
  static constexpr int kLanes = 16;
  [[gnu::always_inline]] static V zero() { return _mm512_setzero_ps(); }
  [[gnu::always_inline]] static V set(float x) { return _mm512_set1_ps(x); }
  [[gnu::always_inline]] static V broadcast(const float* p) { return _mm512_set1_ps(*p); }
  [[gnu::always_inline]] static V load(const float* p) { return _mm512_loadu_ps(p); }
  [[gnu::always_inline]] static void store(float* p, V v) { _mm512_storeu_ps(p, v); }
  [[gnu::always_inline]] static V add(V a, V b) { return _mm512_add_ps(a, b); }
  [[gnu::always_inline]] static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  [[gnu::always_inline]] static V div(V a, V b) { return _mm512_div_ps(a, b); }
  [[gnu::always_inline]] static V sqrt(V a) { return _mm512_sqrt_ps(a); }
  [[gnu::always_inline]] static V max(V a, V b) { return _mm512_max_ps(a, b); }
  [[gnu::always_inline]] static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  [[gnu::always_inline]] static __mmask16 mask(Index n) {
    return n >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << n) - 1);
  }
  [[gnu::always_inline]] static V load(const float* p, Index n) {
    return _mm512_maskz_loadu_ps(mask(n), p);
  }
  [[gnu::always_inline]] static void store(float* p, V v, Index n) {
    _mm512_mask_storeu_ps(p, mask(n), v);
  }
  [[gnu::always_inline]] static V load_bf16(const Bf16* p) {
    return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  [[gnu::always_inline]] static V load_bf16(const Bf16* p, Index n) {
    return widen_bf16(_mm256_maskz_loadu_epi16(mask(n), p));
  }
  [[gnu::always_inline]] static V load_f16(const F16* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  [[gnu::always_inline]] static V load_f16(const F16* p, Index n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p));
  }
  [[gnu::always_inline]] static V widen_bf16(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  [[gnu::always_inline]] static V round_to_bf16(V v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_and_si512(up, _mm512_set1_epi32(-0x10000));
    return _mm512_mask_mov_ps(_mm512_castsi512_ps(rounded), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q),
                              v);
  }
  [[gnu::always_inline]] static V min(V a, V b) { return _mm512_min_ps(a, b); }
  [[gnu::always_inline]] static V round(V x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  [[gnu::always_inline]] static V scale_by_power(V x, V n) { return _mm512_scalef_ps(x, n); }
  [[gnu::always_inline]] static V first(V v, V fill, Index n) {
    return _mm512_mask_mov_ps(fill, mask(n), v);
  }
  [[gnu::always_inline]] static float largest(V v) {
    return Avx2::largest(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
  }
  [[gnu::always_inline]] static V where_positive(V x, V v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, zero(), _CMP_GT_OQ), v);
  }
  [[gnu::always_inline]] static float sum(V v) {
    return Avx2::sum(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
  }
  [[gnu::always_inline]] static void transpose(V (&r)[16]) {
    V t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
      r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
      r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 2
    for (int half = 0; half < 16; half += 8)
#pragma GCC unroll 4
      for (int i = half; i < half + 4; ++i) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
      }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
      r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
  }
};
#endif

// What a loop over a row sees of a vector: all lanes, or the first n in the row's tail. Lanes that do
// not exist load as 0 and are not stored; `first` gives them another value.
template <class S>
struct AllLanes {
  using V = typename S::V;
  [[gnu::always_inline]] V load(const float* p) const { return S::load(p); }
  [[gnu::always_inline]] void store(float* p, V v) const { S::store(p, v); }
  [[gnu::always_inline]] V first(V v, V) const { return v; }
};
template <class S>
struct FirstLanes {
  using V = typename S::V;
  Index n;
  [[gnu::always_inline]] V load(const float* p) const { return S::load(p, n); }
  [[gnu::always_inline]] void store(float* p, V v) const { S::store(p, v, n); }
  [[gnu::always_inline]] V first(V v, V other) const { return S::first(v, other, n); }
};

// body(i, lanes) for the vectors from i = begin on; masks, slow to store through on AVX2, are used in
// the last one alone.
template <class S, class Body>
[[gnu::always_inline]] inline void for_vectors(Index begin, Index end, const Body& body) {
  Index i = begin;
  for (; i + S::kLanes <= end; i += S::kLanes) body(i, AllLanes<S>{});
  if (i < end) body(i, FirstLanes<S>{end - i});
}

// exp(x) for x <= 0, within 2 units in the last place; below -87 it is 0 or about 1e-38. x = n ln 2
// + r with |r| <= ln(2) / 2, and a polynomial (Cephes) for exp(r).
template <class S>
[[gnu::always_inline]] inline typename S::V exp_of_negative(typename S::V x) {
  using V = typename S::V;
  x = S::max(S::set(-87.33654f), x);  // in this order a NaN stays one
  const V n = S::round(S::mul(x, S::set(1.44269504f)));
  V r = S::fma(n, S::set(-0.693359375f), x);
  r = S::fma(n, S::set(2.12194440e-4f), r);
  V p = S::fma(S::set(1.9875691500e-4f), r, S::set(1.3981999507e-3f));
  p = S::fma(p, r, S::set(8.3334519073e-3f));
  p = S::fma(p, r, S::set(4.1665795894e-2f));
  p = S::fma(p, r, S::set(1.6666665459e-1f));
  p = S::fma(p, r, S::set(5.0000001201e-1f));
  p = S::fma(p, S::mul(r, r), S::add(r, S::set(1.0f)));
  return S::scale_by_power(p, n);
}

}  // namespace
}  // namespace mote::kernels
#endif
