// One row of attention scores, the part of attention that is not a matrix product.
//
// softmax_row, for j in [begin, end); x_j := 0 for the other j in [0, n):
//   l_j = scale * (x_j + y_j)
//   lse = log sum_j exp(l_j)
//   x_j := exp(l_j - lse)
//
// softmax_backward_row, from the same x, y and lse, and dp_j = d loss / d p_j; 0 outside:
//   p_j = exp(l_j - lse)
//   ds_j = p_j * (dp_j - sum_i p_i dp_i)
//   x_j := p_j
//   dp_j := scale * ds_j
//   dscale += sum_j ds_j (x_j + y_j)
//
// y may be null (0). 0 <= begin < end <= n. x, y and dp do not overlap.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct SoftmaxRow {
  float* x = nullptr;
  const float* y = nullptr;
  Index begin = 0, end = 0, n = 0;
  float scale = 1;
  float* lse = nullptr;  // out
};
std::span<const Variant<SoftmaxRow>> softmax_row_variants();
void softmax_row_avx2(const SoftmaxRow& args, const Run& run);
void softmax_row_avx512(const SoftmaxRow& args, const Run& run);

struct SoftmaxBackwardRow {
  float* x = nullptr;
  const float* y = nullptr;
  float* dp = nullptr;
  Index begin = 0, end = 0, n = 0;
  float scale = 1, lse = 0;
  float* dscale = nullptr;  // added to
};
std::span<const Variant<SoftmaxBackwardRow>> softmax_backward_row_variants();
void softmax_backward_row_avx2(const SoftmaxBackwardRow& args, const Run& run);
void softmax_backward_row_avx512(const SoftmaxBackwardRow& args, const Run& run);

}  // namespace mote::kernels
