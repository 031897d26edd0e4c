// Sixteen scores at a time are compared with the smallest listed one; only those above it are
// looked at.
#include "kernels/core/simd.h"
#include "kernels/routing/topk/topk.h"
#include "kernels/routing/topk/topk_rows.h"

namespace mote::kernels {

void topk_avx512(const Topk& args, const Run&) {
  const Index columns = args.scores_NE.size(1), k = args.index_NK.size(1);
  for (Index n = 0; n < args.scores_NE.size(0); ++n) {
    const float* scores = args.scores_NE.row(n);
    std::int32_t* list = args.index_NK.row(n);
    first_columns(scores, list, k);
    for (Index first = k; first < columns; first += 16) {
      const __mmask16 here = Avx512::mask(columns - first);
      const __m512 value = _mm512_maskz_loadu_ps(here, scores + first);
      // Not less or equal, so that numbers pass a listed NaN; and not NaN.
      unsigned above =
          _mm512_mask_cmp_ps_mask(here, value, _mm512_set1_ps(scores[list[k - 1]]), _CMP_NLE_UQ) &
          _mm512_mask_cmp_ps_mask(here, value, value, _CMP_ORD_Q);
      for (; above != 0; above &= above - 1) {
        const auto column = static_cast<std::int32_t>(first) + __builtin_ctz(above);
        if (ranks_above(scores[column], scores[list[k - 1]]))
          insert_column(scores, column, list, k);
      }
    }
  }
}

}  // namespace mote::kernels
