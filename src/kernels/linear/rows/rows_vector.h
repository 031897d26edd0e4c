// The row steps for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/linear/rows/rows.h"

namespace mote::kernels {
namespace {

template <class S>
void combine_rows_vector(const CombineRows& args) {
  const Index slots = args.position_NK.size(1), columns = args.y_ND.size(1);
  for (Index n = 0; n < args.y_ND.size(0); ++n) {
    const std::int32_t* position = args.position_NK.row(n);
    const float* weight = args.weight_NK ? args.weight_NK + n * slots : nullptr;
    float* y = args.y_ND.row(n);
    for (Index d = 0; d < columns; d += S::kLanes) {
      const Index left = columns - d;
      typename S::V sum = args.add ? S::load(y + d, left) : S::zero();
      for (Index k = 0; k < slots; ++k) {
        const typename S::V row = S::load(args.p_RD.row(position[k]) + d, left);
        sum = weight ? S::fma(S::set(weight[k]), row, sum) : S::add(row, sum);
      }
      S::store(y + d, sum, left);
    }
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
    for (Index g = 0; g < columns; g += S::kLanes) {
      const Index left = columns - g;
      const typename S::V ug = S::load(u + g, left), tg = S::load(t + g, left);
      dot = S::fma(tg, ug, dot);
      S::store(t + g, S::where_positive(ug, S::mul(gate, tg)), left);
    }
    args.dgate[flat] = S::sum(dot);
  }
}

}  // namespace
}  // namespace mote::kernels
