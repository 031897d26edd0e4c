// Normalisation of rows of D columns.
//
//   layer norm  mean = sum x / D; variance = sum (x - mean)^2 / D (not D - 1)
//   RMS norm    the same with mean = 0 (`centred` false)
//   rstd = 1 / sqrt(variance + eps)
//   y = (x - mean) * rstd * (weight + weight_offset) + bias
//
// Backward, with xhat = (x - mean) * rstd and g = dy * (weight + weight_offset):
//   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), of an RMS norm without mean(g)
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
  const float* bias_D = nullptr;  // or null
  float eps = 1e-5f;
  View<float, 2> y_ND;      // out
  float* mean_N = nullptr;  // out
  float* rstd_N = nullptr;  // out
  bool centred = true;
  float weight_offset = 0;  // 1 where files store weight - 1
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
  float* dbias_D = nullptr;    // out, may be null
  bool centred = true;
  float weight_offset = 0;
};
void layer_norm_backward(const LayerNormBackward& args, const Run& run);
std::span<const Variant<LayerNormBackward>> layer_norm_backward_variants();
void layer_norm_backward_avx2(const LayerNormBackward& args, const Run& run);
void layer_norm_backward_avx512(const LayerNormBackward& args, const Run& run);

}  // namespace mote::kernels
