// 6 rows x 2 vectors: 12 sums, 2 columns, 1 value of the 16 registers.
#include <utility>

#include "kernels/linear/gemm/gemm_blocked.h"
#include "kernels/linear/gemm/gemm_few_rows.h"
#include "kernels/linear/gemm/gemm_transposed.h"

namespace mote::kernels {
namespace {

struct GemmAvx2 : Avx2 {
  static constexpr int kRows = 6, kVectors = 2, kPerStep = 1, kStepUnit = 1;
  static constexpr bool kRounds = false;
  [[gnu::always_inline]] static V multiply_add(V a, V b, V c) { return fma(a, b, c); }
  [[gnu::always_inline]] static V step(V value, V) { return value; }
};

struct RoundingAvx2 : GemmAvx2 {
  static constexpr bool kRounds = true;
};

}  // namespace

void gemm_pack_b_avx2(const GemmBlock& block) {
  pack_all_b<GemmAvx2>(block);
}
void gemm_avx2(const GemmBlock& block) {
  gemm_blocked<GemmAvx2>(block);
}
void gemm_bf16_avx2(const GemmBlock& block) {
  gemm_blocked<RoundingAvx2>(block);
}
void gemm_transposed_avx2(const GemmTransposed& block) {
  gemm_transposed<GemmAvx2>(block);
}
void gemm_transposed_bf16_avx2(const GemmTransposed& block) {
  gemm_transposed<RoundingAvx2>(block);
}
void gemm_few_rows_avx2(const Gemm& args, float* a_rows) {
  gemm_few_rows<GemmAvx2>(args, a_rows);
}
void gemm_few_rows_bf16_avx2(const Gemm& args, float* a_rows) {
  gemm_few_rows<RoundingAvx2>(args, a_rows);
}

}  // namespace mote::kernels
