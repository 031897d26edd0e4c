// Operands are rounded to bfloat16 while they are packed; a step multiplies two neighbouring k at
// once. The instruction adds the odd product first, then the even one, rounding to float32 after
// each, and treats subnormal numbers as zero.
#include <utility>

#include "kernels/linear/gemm/gemm_blocked.h"

namespace mote::kernels {
namespace {

struct GemmBf16 : Avx512 {
  static constexpr int kRows = 8, kVectors = 3, kPerStep = 2;
  static constexpr bool kRounds = false;
  [[gnu::always_inline]] static V multiply_add(V a, V b, V c) {
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  // Lane by lane: `even` in the low half of 32 bits, `odd` in the high half.
  [[gnu::always_inline]] static void store_step(float* p, V even, V odd) {
    const __m512i low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(even)));
    const __m512i high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(odd)));
    store(p, _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16))));
  }
  // 32 neighbouring numbers.
  [[gnu::always_inline]] static void store_row(float* p, V first, V second) {
    store(p, reinterpret_cast<V>(_mm512_cvtne2ps_pbh(second, first)));
  }
};

}  // namespace

void gemm_bf16_avx512_bf16(const GemmBlock& block) {
  gemm_blocked<GemmBf16>(block);
}

}  // namespace mote::kernels
