// The row steps for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/linear/rows/rows.h"

namespace mote::kernels {
namespace {

template <class S>
void combine_rows_vector(const CombineRows& args) {
  const Index columns = args.y_ND.size(1);
  const std::int32_t *position = args.position_R.data, *first_row = args.first_N1.data;
  const float* weight = args.weight_R;
  for (Index n = 0; n < args.y_ND.size(0); ++n) {
    const Index first = first_row[n], end = first_row[n + 1];
    float* y = args.y_ND.row(n);
    for_vectors<S>(0, columns, [&](Index d, auto lanes) {
      typename S::V sum = args.add ? lanes.load(y + d) : S::zero();
      for (Index r = first; r < end; ++r) {
        const typename S::V row = lanes.load(args.p_RD.row(position[r]) + d);
        sum = weight ? S::fma(S::set(weight[r]), row, sum) : S::add(row, sum);
      }
      lanes.store(y + d, sum);
    });
  }
}

template <class S>
void relu_backward_rows_vector(const ReluBackwardRows& args) {
  const Index columns = args.u_RG.size(1);
  for (Index r = 0; r < args.u_RG.size(0); ++r) {
    const std::int32_t flat = args.order[r];
    const float* u = args.u_RG.row(r);
    float* t = args.t_RG.row(r);
    const typename S::V gate = S::set(args.gate[flat]);
    typename S::V dot = S::zero();
    for_vectors<S>(0, columns, [&](Index g, auto lanes) {
      const typename S::V ug = lanes.load(u + g), tg = lanes.load(t + g);
      dot = S::fma(tg, ug, dot);
      lanes.store(t + g, S::where_positive(ug, S::mul(gate, tg)));
    });
    args.dgate[flat] = S::sum(dot);
  }
}

}  // namespace
}  // namespace mote::kernels
