// Adam on picked rows for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/lookup/adam_rows/adam_rows.h"

namespace mote::kernels {
namespace {

constexpr Index kRowsAhead = 2;

// Asks for the lines of a row that comes later.
[[gnu::always_inline]] inline void prefetch_row(const AdamTable& table,
                                                View<const std::int64_t, 1> row_R, Index r,
                                                Index d) {
  const Index later = r + kRowsAhead < row_R.size(0) ? row_R(r + kRowsAhead) : row_R(r);
  __builtin_prefetch(table.value_ND.row(later) + d, 1);
  __builtin_prefetch(table.mean_ND.row(later) + d, 1);
  __builtin_prefetch(table.square_ND.row(later) + d, 1);
}

template <class S>
void adam_rows_vector(const AdamRows& args) {
  using V = typename S::V;
  const V factor = S::set(args.factor), decay = S::set(args.decay), rate = S::set(-args.rate),
          root = S::set(args.root), epsilon = S::set(args.epsilon), beta1 = S::set(args.beta1),
          beta2 = S::set(args.beta2), rest1 = S::set(1 - args.beta1),
          rest2 = S::set(1 - args.beta2);
  for (Index r = 0; r < args.row_R.size(0); ++r) {
    const Index row = args.row_R(r);
    float *p = args.table.value_ND.row(row), *m = args.table.mean_ND.row(row),
          *v = args.table.square_ND.row(row);
    const float* g = args.grad_RD.row(r);
    for_vectors<S>(0, args.grad_RD.size(1), [&](Index d, auto lanes) {
      prefetch_row(args.table, args.row_R, r, d);
      const V gd = S::mul(factor, lanes.load(g + d));
      const V mean = S::fma(beta1, lanes.load(m + d), S::mul(rest1, gd));
      const V square = S::fma(beta2, lanes.load(v + d), S::mul(rest2, S::mul(gd, gd)));
      const V step = S::div(mean, S::fma(root, S::sqrt(square), epsilon));
      lanes.store(m + d, mean);
      lanes.store(v + d, square);
      lanes.store(p + d, S::fma(rate, step, S::mul(decay, lanes.load(p + d))));
    });
  }
}

template <class S>
void move_rows_vector(const MoveRows& args) {
  using V = typename S::V;
  for (Index r = 0; r < args.row_R.size(0); ++r) {
    const Index row = args.row_R(r);
    const RowMove& move = args.move[r];
    float *p = args.table.value_ND.row(row), *m = args.table.mean_ND.row(row),
          *v = args.table.square_ND.row(row);
    const V decay = S::set(move.decay), rate = S::set(-move.rate), epsilon = S::set(move.epsilon),
            mean_factor = S::set(move.mean), square_factor = S::set(move.square);
    for_vectors<S>(0, args.table.value_ND.size(1), [&](Index d, auto lanes) {
      prefetch_row(args.table, args.row_R, r, d);
      const V mean = lanes.load(m + d), square = lanes.load(v + d);
      const V step = S::div(mean, S::add(S::sqrt(square), epsilon));
      lanes.store(p + d, S::fma(rate, step, S::mul(decay, lanes.load(p + d))));
      lanes.store(m + d, S::mul(mean_factor, mean));
      lanes.store(v + d, S::mul(square_factor, square));
    });
  }
}

}  // namespace
}  // namespace mote::kernels
