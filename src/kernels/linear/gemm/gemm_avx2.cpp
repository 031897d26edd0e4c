// 6 rows x 2 vectors: 12 sums, 2 columns, 1 value of the 16 registers.
#include <utility>

#include "kernels/linear/gemm/gemm_blocked.h"

namespace mote::kernels {
namespace {

struct GemmAvx2 : Avx2 {
  static constexpr int kRows = 6;
  static constexpr int kPerStep = 1;
  [[gnu::always_inline]] static V multiply_add(V a, V b, V c) { return fma(a, b, c); }
  [[gnu::always_inline]] static void store_step(float* p, V value, V) { store(p, value); }
};

}  // namespace

void gemm_avx2(const Gemm& args, float* scratch) {
  if (!gemm_few_rows<GemmAvx2>(args)) gemm_blocked<GemmAvx2>(args, scratch);
}

}  // namespace mote::kernels
