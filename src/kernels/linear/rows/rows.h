// Small steps on rows between the products of an expert layer. Rows have unit column stride.
//
// combine_rows, over the rows of each token in their order, in float32; a token without rows gets
// 0; without weights they are 1; with `add`, to what y holds:
//   y[n] = sum_r weight[r] * p[position[r]],  first[n] <= r < first[n+1]
// The index is one that routing/sort has checked.
//
// relu_backward_rows, for sorted row r with gate s = gate[order[r]]:
//   dgate[order[r]] = <t_r, u_r>
//   t_r := s * t_r where u_r > 0, else 0
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct CombineRows {
  View<const float, 2> p_RD;
  View<const std::int32_t, 1> position_R, first_N1;
  const float* weight_R = nullptr;  // or null
  View<float, 2> y_ND;
  bool add = false;
};
void combine_rows(const CombineRows& args, const Run& run);
std::span<const Variant<CombineRows>> combine_rows_variants();
void combine_rows_avx2(const CombineRows& args, const Run& run);
void combine_rows_avx512(const CombineRows& args, const Run& run);

struct ReluBackwardRows {
  View<const float, 2> u_RG;
  View<float, 2> t_RG;  // in: d loss / d (unscaled output of relu); out: d loss / d (input of relu)
  const std::int32_t* order = nullptr;  // [R]
  const float* gate = nullptr;          // indexed by order
  float* dgate = nullptr;               // indexed by order
};
// On the caller's thread: it is called for blocks of rows.
void relu_backward_rows(const ReluBackwardRows& args, const Run& run);
std::span<const Variant<ReluBackwardRows>> relu_backward_rows_variants();
void relu_backward_rows_avx2(const ReluBackwardRows& args, const Run& run);
void relu_backward_rows_avx512(const ReluBackwardRows& args, const Run& run);

}  // namespace mote::kernels
