#include "kernels/lookup/table_rows/table_rows.h"

#include <algorithm>

#include "base/check.h"

namespace mote::kernels {
namespace {

double value(const Table& table, Index row, Index column) {
  const Index at = row * table.stride + column;
  return static_cast<double>(table.type == Type::f32
                                 ? static_cast<const float*>(table.data)[at]
                                 : from_bf16(static_cast<const Bf16*>(table.data)[at]));
}

void dots_reference(const RowDots& args, const Run&) {
  for (Index n = 0; n < args.x_ND.size(0); ++n)
    for (Index p = n * args.per_output; p < (n + 1) * args.per_output; ++p) {
      double sum = 0;
      for (Index d = 0; d < args.table.columns; ++d)
        sum += value(args.table, args.index[p], d) * static_cast<double>(args.x_ND(n, d));
      args.dots[p] = static_cast<float>(sum);
    }
}

void sums_reference(const RowSums& args, const Run&) {
  for (Index n = 0; n < args.y_ND.size(0); ++n)
    for (Index d = 0; d < args.table.columns; ++d) {
      double sum = args.add ? static_cast<double>(args.y_ND(n, d)) : 0;
      for (Index p = args.begin(n); p < args.begin(n + 1); ++p)
        sum += (args.weight ? static_cast<double>(args.weight[p]) : 1) *
               value(args.table, args.index[p], d);
      args.y_ND(n, d) = static_cast<float>(sum);
    }
}

constexpr Variant<RowDots> kDots[] = {
    {Isa::reference, dots_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, row_dots_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, row_dots_avx512},
#endif
};

constexpr Variant<RowSums> kSums[] = {
    {Isa::reference, sums_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, row_sums_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, row_sums_avx512},
#endif
};

void check(const char* op, const Table& table, Index columns) {
  MOTE_CHECK(table.type != Type::f16, op, ": a table is float32 or bfloat16");
  MOTE_CHECK(table.columns == columns, op, ": the table has ", table.columns, " columns, rows ",
             columns);
}

// body(first, count) for pieces of the outputs, cut by the pairs that outputs have in the mean.
template <class Body>
void in_pieces(Index outputs, Index pairs, const Run& run, const Body& body) {
  constexpr Index kPairs = 2048;
  if (outputs == 0) return;
  const Index piece = std::max<Index>(1, kPairs * outputs / std::max<Index>(pairs, outputs));
  parallel_for(*run.executor, (outputs + piece - 1) / piece,
               [&](Index i, int) { body(i * piece, std::min(piece, outputs - i * piece)); });
}

}  // namespace

std::span<const Variant<RowDots>> row_dots_variants() {
  return kDots;
}
std::span<const Variant<RowSums>> row_sums_variants() {
  return kSums;
}

void row_dots(const RowDots& args, const Run& run) {
  check("row_dots", args.table, args.x_ND.size(1));
  const auto& variant = select(row_dots_variants(), run);
  const Index outputs = args.x_ND.size(0);
  run.count(outputs * args.per_output * args.table.columns);
  in_pieces(outputs, outputs * args.per_output, run, [&](Index first, Index count) {
    RowDots part = args;
    part.index += first * args.per_output;
    part.dots += first * args.per_output;
    part.x_ND.data = args.x_ND.row(first);
    part.x_ND.sizes[0] = count;
    variant.call(part, run);
  });
}

void row_sums(const RowSums& args, const Run& run) {
  check("row_sums", args.table, args.y_ND.size(1));
  const auto& variant = select(row_sums_variants(), run);
  const Index outputs = args.y_ND.size(0),
              pairs = outputs == 0 ? 0 : args.begin(outputs) - args.begin(0);
  run.count(pairs * args.table.columns);
  in_pieces(outputs, pairs, run, [&](Index first, Index count) {
    RowSums part = args;
    if (args.first) {
      part.first += first;
    } else {
      part.index += first * args.per_output;
      if (args.weight) part.weight += first * args.per_output;
    }
    part.y_ND.data = args.y_ND.row(first);
    part.y_ND.sizes[0] = count;
    variant.call(part, run);
  });
}

}  // namespace mote::kernels
