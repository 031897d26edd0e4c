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
  const V offset = S::set(args.weight_offset);
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    const float* x = args.x_ND.row(n);
    float* y = args.y_ND.row(n);
    V sum = S::zero(), squares = S::zero();
    if (args.centred)
      for_vectors<S>(0, columns,
                     [&](Index d, auto lanes) { sum = S::add(sum, lanes.load(x + d)); });
    const float mean = S::sum(sum) * share;
    const V minus_mean = S::set(-mean);
    for_vectors<S>(0, columns, [&](Index d, auto lanes) {
      const V centred = lanes.first(S::add(lanes.load(x + d), minus_mean), S::zero());
      squares = S::fma(centred, centred, squares);
    });
    const float rstd = 1 / __builtin_sqrtf(S::sum(squares) * share + args.eps);
    const V scale = S::set(rstd);
    for_vectors<S>(0, columns, [&](Index d, auto lanes) {
      const V hat = S::mul(S::add(lanes.load(x + d), minus_mean), scale);
      const V weight = S::add(lanes.load(args.weight_D + d), offset);
      lanes.store(y + d, args.bias_D ? S::fma(hat, weight, lanes.load(args.bias_D + d))
                                     : S::mul(hat, weight));
    });
    args.mean_N[n] = mean;
    args.rstd_N[n] = rstd;
  }
}

template <class S>
void layer_norm_backward_vector(const LayerNormBackward& args) {
  using V = typename S::V;
  const Index columns = args.x_ND.size(1);
  const float share = 1 / static_cast<float>(columns);
  const V offset = S::set(args.weight_offset);
  for_vectors<S>(0, columns, [&](Index d, auto lanes) {
    lanes.store(args.dweight_D + d, S::zero());
    lanes.store(args.dbias_D + d, S::zero());
  });
  for (Index n = 0; n < args.x_ND.size(0); ++n) {
    const float *x = args.x_ND.row(n), *dy = args.dy_ND.row(n);
    float* dx = args.dx_ND.row(n);
    const V minus_mean = S::set(-args.mean_N[n]), rstd = S::set(args.rstd_N[n]);
    V sum_g = S::zero(), sum_gx = S::zero();
    for_vectors<S>(0, columns, [&](Index d, auto lanes) {
      const V hat = S::mul(S::add(lanes.load(x + d), minus_mean), rstd), dyd = lanes.load(dy + d);
      // 0 in the lanes that do not exist, as dy is.
      const V g = S::mul(dyd, S::add(lanes.load(args.weight_D + d), offset));
      sum_g = S::add(sum_g, g);
      sum_gx = S::fma(g, hat, sum_gx);
      lanes.store(args.dweight_D + d, S::fma(dyd, hat, lanes.load(args.dweight_D + d)));
      lanes.store(args.dbias_D + d, S::add(dyd, lanes.load(args.dbias_D + d)));
    });
    const V mean_g = S::set(args.centred ? -S::sum(sum_g) * share : 0),
            mean_gx = S::set(-S::sum(sum_gx) * share);
    for_vectors<S>(0, columns, [&](Index d, auto lanes) {
      const V hat = S::mul(S::add(lanes.load(x + d), minus_mean), rstd);
      const V g = S::mul(lanes.load(dy + d), S::add(lanes.load(args.weight_D + d), offset));
      lanes.store(dx + d, S::mul(rstd, S::fma(hat, mean_gx, S::add(g, mean_g))));
    });
  }
}

}  // namespace
}  // namespace mote::kernels
