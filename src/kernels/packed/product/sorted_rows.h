// What the packed products share: rows sorted by expert, cut into chunks of one expert's tokens.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

// Throws a value error naming `op` unless x [R, I], y [R, O] and ends [E] fit matrices [E, O, I]:
// ends do not fall and stop at R, rows are contiguous.
void check_sorted_product(const char* op, Index experts, Index outputs, Index inputs,
                          View<const std::int32_t, 1> ends_E, View<const float, 2> x_RI,
                          View<const float, 2> y_RO);

// Rows that are computed together, all of one expert.
struct RowChunk {
  Index expert = 0, first = 0, tokens = 0;  // no tokens: no chunk starts here
};
// An expert's rows are cut from its first one on into chunks of `most`; the last may be shorter.
// The cut depends on the shape alone, so that work can be shared by asking for every row.
RowChunk row_chunk_at(View<const std::int32_t, 1> ends_E, Index row, Index most);

template <class T>
View<T, 2> rows_of(View<T, 2> all, const RowChunk& chunk) {
  return {all.row(chunk.first), {chunk.tokens, all.size(1)}, all.strides};
}

// Calls body(expert, row) for every row.
template <class Body>
void for_each_row(View<const std::int32_t, 1> ends_E, const Body& body) {
  Index r = 0;
  for (Index e = 0; e < ends_E.size(0); ++e)
    for (; r < ends_E(e); ++r) body(e, r);
}

}  // namespace mote::kernels
