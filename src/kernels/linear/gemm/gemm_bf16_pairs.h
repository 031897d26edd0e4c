// Pairs of bfloat16 in 32-bit lanes, for instructions that multiply two neighbouring k at once; for
// the variant files only.
#pragma once

#include "kernels/core/simd.h"

namespace mote::kernels {
namespace {

struct Bf16Pairs : Avx512 {
  static constexpr int kPerStep = 2;
  static constexpr bool kRounds = false;
  // Lane by lane: `even` in the low half, `odd` in the high half.
  [[gnu::always_inline]] static V step(V even, V odd) {
    const __m512i apart = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i order =
        _mm512_or_si512(lane, _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(16)), 16));
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, apart));
  }
  // The pair at p, which may lie at any even address, in all lanes.
  [[gnu::always_inline]] static V broadcast(const float* p) {
    int pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm512_castsi512_ps(_mm512_set1_epi32(pair));
  }
  // 32 neighbouring numbers.
  [[gnu::always_inline]] static V pairs_along(V first, V second) {
    return reinterpret_cast<V>(_mm512_cvtne2ps_pbh(second, first));
  }
  // The same where they are stored so; the first n of them.
  [[gnu::always_inline]] static V load_pairs(const Bf16* p, Index n) {
    if (n >= 32) return _mm512_loadu_ps(p);
    const auto some = static_cast<__mmask32>(n > 0 ? (1u << n) - 1 : 0);
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(some, p));
  }
};

}  // namespace
}  // namespace mote::kernels
