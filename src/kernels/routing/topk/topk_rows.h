// One row of top-k by insertion into a sorted list, shared by the variants, which differ in how
// they find candidates.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {
namespace {

// Whether score a comes before score b of a lower column: NaN ranks below every number.
[[gnu::always_inline]] inline bool ranks_above(float a, float b) {
  return a > b || (a == a && b != b);
}

// Puts `column` into a sorted list whose last place is free or falls out. Columns arrive in rising
// order, so an equal score stays behind those already listed.
[[gnu::always_inline]] inline void insert_column(const float* scores, std::int32_t column,
                                                 std::int32_t* list, Index places) {
  Index at = places - 1;
  for (; at > 0 && ranks_above(scores[column], scores[list[at - 1]]); --at) list[at] = list[at - 1];
  list[at] = column;
}

// Lists the first k columns in order; the caller goes on from column k.
[[gnu::always_inline]] inline void first_columns(const float* scores, std::int32_t* list, Index k) {
  for (std::int32_t column = 0; column < k; ++column)
    insert_column(scores, column, list, column + 1);
}

}  // namespace
}  // namespace mote::kernels
