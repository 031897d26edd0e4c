#include "kernels/lookup/table_rows/table_rows_vector.h"

namespace mote::kernels {

void row_dots_avx2(const RowDots& args, const Run&) {
  if (args.table.type == Type::bf16) return row_dots_of<Avx2, Bf16Rows<Avx2>>(args);
  row_dots_of<Avx2, F32Rows<Avx2>>(args);
}

void row_sums_avx2(const RowSums& args, const Run&) {
  if (args.table.type == Type::bf16) return row_sums_of<Avx2, Bf16Rows<Avx2>>(args);
  row_sums_of<Avx2, F32Rows<Avx2>>(args);
}

}  // namespace mote::kernels
