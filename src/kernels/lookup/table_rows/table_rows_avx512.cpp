#include "kernels/lookup/table_rows/table_rows_vector.h"

namespace mote::kernels {

void row_dots_avx512(const RowDots& args, const Run&) {
  if (args.table.type == Type::bf16) return row_dots_of<Avx512, Bf16Rows<Avx512>>(args);
  row_dots_of<Avx512, F32Rows<Avx512>>(args);
}

void row_sums_avx512(const RowSums& args, const Run&) {
  if (args.table.type == Type::bf16) return row_sums_of<Avx512, Bf16Rows<Avx512>>(args);
  row_sums_of<Avx512, F32Rows<Avx512>>(args);
}

}  // namespace mote::kernels
