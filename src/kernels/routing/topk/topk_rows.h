// One row of top-k by insertion into a sorted list, shared by the variants, which differ in how
// they find candidates.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {
namespace {

// Inserts `column` before the first listed column with a smaller score; the last one falls out.
// Columns arrive in rising order, so an equal score stays behind those already listed.
[[gnu::always_inline]] inline void insert_column(const float* scores, std::int32_t column,
                                                 std::int32_t* list, Index k) {
  const float score = scores[column];
  Index at = k - 1;
  for (; at > 0 && !(scores[list[at - 1]] >= score); --at) list[at] = list[at - 1];
  list[at] = column;
}

// Lists the first k columns in order; the caller goes on from column k.
[[gnu::always_inline]] inline void first_columns(const float* scores, std::int32_t* list, Index k) {
  for (std::int32_t column = 0; column < k; ++column) {
    Index at = column;
    const float score = scores[column];
    // NaN compares false both ways: it stays at the end of what was listed before it only if it is
    // moved by no one.
    for (; at > 0 && !(scores[list[at - 1]] >= score) && score == score; --at)
      list[at] = list[at - 1];
    list[at] = column;
  }
}

}  // namespace
}  // namespace mote::kernels
