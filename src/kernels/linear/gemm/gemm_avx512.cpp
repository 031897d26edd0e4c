// 8 rows x 3 vectors: 24 sums, 3 columns, 1 value of the 32 registers, and no more pointers to rows
// than there are registers for.
#include <utility>

#include "kernels/linear/gemm/gemm_blocked.h"
#include "kernels/linear/gemm/gemm_few_rows.h"
#include "kernels/linear/gemm/gemm_transposed.h"

namespace mote::kernels {
namespace {

struct GemmAvx512 : Avx512 {
  static constexpr int kRows = 8, kVectors = 3, kPerStep = 1, kStepUnit = 1;
  static constexpr bool kRounds = false;
  [[gnu::always_inline]] static V multiply_add(V a, V b, V c) { return fma(a, b, c); }
  [[gnu::always_inline]] static V step(V value, V) { return value; }
};

struct RoundingAvx512 : GemmAvx512 {
  static constexpr bool kRounds = true;
};

}  // namespace

void gemm_pack_b_avx512(const GemmBlock& block) {
  pack_all_b<GemmAvx512>(block);
}
void gemm_avx512(const GemmBlock& block) {
  gemm_blocked<GemmAvx512>(block);
}
void gemm_bf16_avx512(const GemmBlock& block) {
  gemm_blocked<RoundingAvx512>(block);
}
void gemm_transposed_avx512(const GemmTransposed& block) {
  gemm_transposed<GemmAvx512>(block);
}
void gemm_transposed_bf16_avx512(const GemmTransposed& block) {
  gemm_transposed<RoundingAvx512>(block);
}
void gemm_few_rows_avx512(const Gemm& args, float* a_rows) {
  gemm_few_rows<GemmAvx512>(args, a_rows);
}
void gemm_few_rows_bf16_avx512(const Gemm& args, float* a_rows) {
  gemm_few_rows<RoundingAvx512>(args, a_rows);
}

}  // namespace mote::kernels
