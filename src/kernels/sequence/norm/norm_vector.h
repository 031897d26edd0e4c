// The rows for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/sequence/norm/norm.h"

namespace mote::kernels {
namespace {

template <class S>
void layer_norm_vector(const LayerNorm& args) {
  using V = typename S::V;
  const Index columns = args.x_ND.size(1);
  const float share = 1 / static_cast<float>(columns);
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    const float* x = args.x_ND.row(n);
    float* y = args.y_ND.row(n);
    V sum = S::zero(), squares = S::zero();
    for (Index d = 0; d < columns; d += S::kLanes) sum = S::add(sum, S::load(x + d, columns - d));
    const float mean = S::sum(sum) * share;
    const V minus_mean = S::set(-mean);
    for (Index d = 0; d < columns; d += S::kLanes) {
      const Index left = columns - d;
      const V centred = S::first(S::add(S::load(x + d, left), minus_mean), S::zero(), left);
      squares = S::fma(centred, centred, squares);
    }
    const float rstd = 1 / __builtin_sqrtf(S::sum(squares) * share + args.eps);
    const V scale = S::set(rstd);
    for (Index d = 0; d < columns; d += S::kLanes) {
      const Index left = columns - d;
      const V hat = S::mul(S::add(S::load(x + d, left), minus_mean), scale);
      S::store(y + d, S::fma(hat, S::load(args.weight_D + d, left), S::load(args.bias_D + d, left)),
               left);
    }
    args.mean_N[n] = mean;
    args.rstd_N[n] = rstd;
  }
}

template <class S>
void layer_norm_backward_vector(const LayerNormBackward& args) {
  using V = typename S::V;
  const Index columns = args.x_ND.size(1);
  const float share = 1 / static_cast<float>(columns);
  for (Index d = 0; d < columns; d += S::kLanes) {
    S::store(args.dweight_D + d, S::zero(), columns - d);
    S::store(args.dbias_D + d, S::zero(), columns - d);
  }
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    const float *x = args.x_ND.row(n), *dy = args.dy_ND.row(n);
    float* dx = args.dx_ND.row(n);
    const V minus_mean = S::set(-args.mean_N[n]), rstd = S::set(args.rstd_N[n]);
    V sum_g = S::zero(), sum_gx = S::zero();
    for (Index d = 0; d < columns; d += S::kLanes) {
      const Index left = columns - d;
      const V hat = S::mul(S::add(S::load(x + d, left), minus_mean), rstd),
              dyd = S::load(dy + d, left);
      const V g =
          S::mul(dyd, S::load(args.weight_D + d, left));  // 0 in the lanes that do not exist
      sum_g = S::add(sum_g, g);
      sum_gx = S::fma(g, hat, sum_gx);
      S::store(args.dweight_D + d, S::fma(dyd, hat, S::load(args.dweight_D + d, left)), left);
      S::store(args.dbias_D + d, S::add(dyd, S::load(args.dbias_D + d, left)), left);
    }
    const V mean_g = S::set(-S::sum(sum_g) * share), mean_gx = S::set(-S::sum(sum_gx) * share);
    for (Index d = 0; d < columns; d += S::kLanes) {
      const Index left = columns - d;
      const V hat = S::mul(S::add(S::load(x + d, left), minus_mean), rstd);
      const V g = S::mul(S::load(dy + d, left), S::load(args.weight_D + d, left));
      S::store(dx + d, S::mul(rstd, S::fma(hat, mean_gx, S::add(g, mean_g))), left);
    }
  }
}

}  // namespace
}  // namespace mote::kernels
