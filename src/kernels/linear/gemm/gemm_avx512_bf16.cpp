// Operands are rounded to bfloat16 while they are packed; a step multiplies two neighbouring k at
// once. The instruction adds the odd product first, then the even one, rounding to float32 after
// each, and treats subnormal numbers as zero. On Intel's processors that have tiles it was measured
// at half the rate of float32 products; they take the row after this.
#include <utility>

#include "kernels/linear/gemm/gemm_bf16_pairs.h"
#include "kernels/linear/gemm/gemm_blocked.h"
#include "kernels/linear/gemm/gemm_few_rows.h"
#include "kernels/linear/gemm/gemm_transposed.h"

namespace mote::kernels {
namespace {

struct GemmBf16 : Bf16Pairs {
  static constexpr int kRows = 8, kVectors = 3, kStepUnit = 1;
  [[gnu::always_inline]] static V multiply_add(V a, V b, V c) {
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

}  // namespace

void gemm_bf16_avx512_bf16(const GemmBlock& block) {
  gemm_blocked<GemmBf16>(block);
}
void gemm_transposed_bf16_avx512_bf16(const GemmTransposed& block) {
  gemm_transposed<GemmBf16>(block);
}
void gemm_few_rows_bf16_avx512_bf16(const Gemm& args, float* a_rows) {
  gemm_few_rows<GemmBf16>(args, a_rows);
}

}  // namespace mote::kernels
