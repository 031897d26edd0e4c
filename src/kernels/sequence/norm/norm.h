// Layer normalisation of rows, variance over the D columns (not D - 1):
//   rstd = 1 / sqrt(variance + eps)
//   y = (x - mean) * rstd * weight + bias
//
// Backward, with xhat = (x - mean) * rstd and g = dy * weight:
//   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))
//   dweight = sum_n dy * xhat
//   dbias = sum_n dy
//
// Rows have unit column stride. The sums over rows are made in blocks of kNormRows rows, block
// after block, whatever the number of threads.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

inline constexpr Index kNormRows = 64;

struct LayerNorm {
  View<const float, 2> x_ND;
  const float* weight_D = nullptr;
  const float* bias_D = nullptr;
  float eps = 1e-5f;
  View<float, 2> y_ND;      // out
  float* mean_N = nullptr;  // out
  float* rstd_N = nullptr;  // out
};
void layer_norm(const LayerNorm& args, const Run& run);
std::span<const Variant<LayerNorm>> layer_norm_variants();
void layer_norm_avx2(const LayerNorm& args, const Run& run);
void layer_norm_avx512(const LayerNorm& args, const Run& run);

struct LayerNormBackward {
  View<const float, 2> x_ND, dy_ND;
  const float* weight_D = nullptr;
  const float* mean_N = nullptr;
  const float* rstd_N = nullptr;
  View<float, 2> dx_ND;        // out
  float* dweight_D = nullptr;  // out
  float* dbias_D = nullptr;    // out
};
void layer_norm_backward(const LayerNormBackward& args, const Run& run);
std::span<const Variant<LayerNormBackward>> layer_norm_backward_variants();
void layer_norm_backward_avx2(const LayerNormBackward& args, const Run& run);
void layer_norm_backward_avx512(const LayerNormBackward& args, const Run& run);

}  // namespace mote::kernels
