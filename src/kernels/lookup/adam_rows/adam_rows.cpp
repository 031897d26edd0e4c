#include "kernels/lookup/adam_rows/adam_rows.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace mote::kernels {
namespace {

void adam_reference(const AdamRows& args, const Run&) {
  for (Index r = 0; r < args.row_R.size(0); ++r)
    for (Index d = 0; d < args.grad_RD.size(1); ++d) {
      const Index row = args.row_R(r);
      float &p = args.table.value_ND(row, d), &m = args.table.mean_ND(row, d),
            &v = args.table.square_ND(row, d);
      const double g = static_cast<double>(args.factor) * static_cast<double>(args.grad_RD(r, d));
      const auto beta1 = static_cast<double>(args.beta1), beta2 = static_cast<double>(args.beta2);
      const double mean = beta1 * static_cast<double>(m) + (1 - beta1) * g,
                   square = beta2 * static_cast<double>(v) + (1 - beta2) * g * g;
      p = static_cast<float>(static_cast<double>(args.decay) * static_cast<double>(p) -
                             static_cast<double>(args.rate) * mean /
                                 (static_cast<double>(args.root) * std::sqrt(square) +
                                  static_cast<double>(args.epsilon)));
      m = static_cast<float>(mean);
      v = static_cast<float>(square);
    }
}

void move_reference(const MoveRows& args, const Run&) {
  for (Index r = 0; r < args.row_R.size(0); ++r)
    for (Index d = 0; d < args.table.value_ND.size(1); ++d) {
      const Index row = args.row_R(r);
      const RowMove& move = args.move[r];
      float &p = args.table.value_ND(row, d), &m = args.table.mean_ND(row, d),
            &v = args.table.square_ND(row, d);
      p = static_cast<float>(
          static_cast<double>(move.decay) * static_cast<double>(p) -
          static_cast<double>(move.rate) * static_cast<double>(m) /
              (std::sqrt(static_cast<double>(v)) + static_cast<double>(move.epsilon)));
      m *= move.mean;
      v *= move.square;
    }
}

constexpr Variant<AdamRows> kAdam[] = {
    {Isa::reference, adam_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, adam_rows_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, adam_rows_avx512},
#endif
};

constexpr Variant<MoveRows> kMove[] = {
    {Isa::reference, move_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, move_rows_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, move_rows_avx512},
#endif
};

void check(const char* op, const AdamTable& t) {
  MOTE_CHECK(t.mean_ND.sizes == t.value_ND.sizes && t.square_ND.sizes == t.value_ND.sizes, op,
             ": the moments have other sizes than the table of ", t.value_ND.size(0), " x ",
             t.value_ND.size(1));
}

// Pieces of the rows on all threads; each row is one piece's alone.
template <class Args, class Cut>
void in_pieces(const Args& args, const Variant<Args>& variant, const Run& run, const Cut& cut) {
  constexpr Index kRows = 64;
  const Index rows = args.row_R.size(0);
  parallel_for(*run.executor, (rows + kRows - 1) / kRows, [&](Index i, int) {
    const Index first = i * kRows;
    Args part = args;
    part.row_R.data += first;
    part.row_R.sizes[0] = std::min(kRows, rows - first);
    cut(part, first);
    variant.call(part, run);
  });
}

}  // namespace

std::span<const Variant<AdamRows>> adam_rows_variants() {
  return kAdam;
}
std::span<const Variant<MoveRows>> move_rows_variants() {
  return kMove;
}

void adam_rows(const AdamRows& args, const Run& run) {
  check("adam_rows", args.table);
  MOTE_CHECK(args.grad_RD.size(0) == args.row_R.size(0) &&
                 args.grad_RD.size(1) == args.table.value_ND.size(1),
             "adam_rows: gradients of ", args.grad_RD.size(0), " x ", args.grad_RD.size(1), " for ",
             args.row_R.size(0), " rows of ", args.table.value_ND.size(1));
  in_pieces(args, select(adam_rows_variants(), run), run, [&](AdamRows& part, Index first) {
    part.grad_RD.data = args.grad_RD.row(first);
    part.grad_RD.sizes[0] = part.row_R.size(0);
  });
}

void move_rows(const MoveRows& args, const Run& run) {
  check("move_rows", args.table);
  in_pieces(args, select(move_rows_variants(), run), run,
            [&](MoveRows& part, Index first) { part.move += first; });
}

}  // namespace mote::kernels
