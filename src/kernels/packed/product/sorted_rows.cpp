#include "kernels/packed/product/sorted_rows.h"

#include <algorithm>

#include "base/check.h"

namespace mote::kernels {

void check_sorted_product(const char* op, Index experts, Index outputs, Index inputs,
                          View<const std::int32_t, 1> ends_E, View<const float, 2> x_RI,
                          View<const float, 2> y_RO) {
  const Index rows = x_RI.size(0);
  MOTE_CHECK(x_RI.size(1) == inputs, op, ": the rows have ", x_RI.size(1),
             " entries, the matrices take ", inputs);
  MOTE_CHECK(y_RO.size(1) == outputs, op, ": the results have ", y_RO.size(1),
             " entries, the matrices give ", outputs);
  MOTE_CHECK(y_RO.size(0) == rows, op, ": ", rows, " rows come in, ", y_RO.size(0), " go out");
  MOTE_CHECK(ends_E.size(0) == experts, op, ": ends are for ", ends_E.size(0),
             " experts, the matrices for ", experts);
  std::int32_t last = 0;
  for (Index e = 0; e < experts; last = ends_E(e++))
    MOTE_CHECK(ends_E(e) >= last, op, ": ends fall from ", last, " to ", ends_E(e), " at expert ",
               e);
  MOTE_CHECK(last == rows, op, ": ends stop at ", last, ", there are ", rows, " rows");
  MOTE_CHECK(x_RI.stride(1) == 1 && y_RO.stride(1) == 1, op,
             ": rows must be contiguous, the strides are ", x_RI.stride(1), " and ",
             y_RO.stride(1));
}

RowChunk row_chunk_at(View<const std::int32_t, 1> ends_E, Index row, Index most) {
  const std::int32_t* ends = ends_E.data;
  const Index e = std::upper_bound(ends, ends + ends_E.size(0), row) - ends;
  const Index begin = e == 0 ? 0 : ends[e - 1];
  if ((row - begin) % most != 0) return {};
  return {e, row, std::min(most, ends[e] - row)};
}

}  // namespace mote::kernels
