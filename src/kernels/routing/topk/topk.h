// The K largest of every row: index_NK[n] lists the columns of the K largest scores of row n by
// falling score; equal scores go to the lower column. NaN ranks below every number. 1 <= K <= E; a
// row is not changed.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

// Whether score a comes before score b of a lower column.
[[gnu::always_inline]] inline bool ranks_above(float a, float b) {
  return a > b || (a == a && b != b);
}

struct Topk {
  View<const float, 2> scores_NE;
  View<std::int32_t, 2> index_NK;
};

void topk(const Topk& args, const Run& run);

std::span<const Variant<Topk>> topk_variants();
void topk_reference(const Topk& args, const Run& run);
void topk_avx2(const Topk& args, const Run& run);
void topk_avx512(const Topk& args, const Run& run);
// One row by the plain loop, for variants.
void topk_of_row_plain(const float* scores, Index columns, std::int32_t* list, Index k);

}  // namespace mote::kernels
