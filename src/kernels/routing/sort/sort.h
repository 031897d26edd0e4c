// Routed rows in the order of their experts: the index that every grouped product shares.
//
// R rows lie in the order of their tokens: token n has the rows [first[n], first[n+1]), none or
// many, of one expert more than once if so wished. A stable counting sort by expert, O(R + E + N),
// puts the rows of expert 0 first, then those of expert 1, ...; within an expert they stay in the
// order of tokens. What is passed is checked here, once, and relied on by all that use the index.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

// A run of sorted rows of one expert: what one thread works on at a time.
struct RowBlock {
  std::int32_t expert, first, count;
};

inline constexpr Index kBlockRows = 768;
inline constexpr Index kBlockRowUnit = 48;  // whole panels of 6, 8 and 16 rows

struct SortRoutes {
  View<const std::int32_t, 1> expert_R;  // each in [0, num_experts); at most INT32_MAX of them
  View<const std::int32_t, 1> first_N1;  // 0, never falling, R
  Index num_experts = 0;
  std::int32_t* ends = nullptr;      // [E]: expert e has the sorted rows [ends[e-1], ends[e])
  std::int32_t* order = nullptr;     // [R]: row of each sorted row
  std::int32_t* token = nullptr;     // [R]: token of each sorted row
  std::int32_t* position = nullptr;  // [R]: sorted row of each row; the inverse of order
};

void sort_routes(const SortRoutes& args);

// Cuts the rows of each expert into as few blocks of at most kBlockRows as there can be, nearly
// equal and but for the last in kBlockRowUnits, and orders all by falling size, so that the last to
// start are short. `blocks` has room for max_row_blocks(); returns how many there are.
// Empty experts have none.
Index make_row_blocks(const std::int32_t* ends, Index num_experts, RowBlock* blocks);
Index max_row_blocks(Index num_rows, Index num_experts);

}  // namespace mote::kernels
