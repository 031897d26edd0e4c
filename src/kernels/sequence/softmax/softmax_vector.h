// The rows for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include <cmath>

#include "kernels/core/simd.h"
#include "kernels/sequence/softmax/softmax.h"

namespace mote::kernels {
namespace {

// x_j + y_j of the lanes that are visible; the others are 0.
template <class S, class Lanes>
[[gnu::always_inline]] inline typename S::V scores_at(const float* x, const float* y, Index j,
                                                      const Lanes& lanes) {
  const typename S::V value = lanes.load(x + j);
  return y ? S::add(value, lanes.load(y + j)) : value;
}

[[gnu::always_inline]] inline void zero_outside(float* x, Index begin, Index end, Index n) {
  for (Index j = 0; j < begin; ++j) x[j] = 0;
  for (Index j = end; j < n; ++j) x[j] = 0;
}

template <class S>
void softmax_row_vector(const SoftmaxRow& args) {
  using V = typename S::V;
  const V scale = S::set(args.scale), lowest = S::set(-3.0e38f);
  V largest_lanes = lowest;
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    const V l = S::mul(scale, scores_at<S>(args.x, args.y, j, lanes));
    largest_lanes = S::max(largest_lanes, lanes.first(l, lowest));
    lanes.store(args.x + j, l);
  });
  const float largest = S::largest(largest_lanes);
  V sum_lanes = S::zero();
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    const V e = exp_of_negative<S>(S::add(lanes.load(args.x + j), S::set(-largest)));
    sum_lanes = S::add(sum_lanes, lanes.first(e, S::zero()));
    lanes.store(args.x + j, e);
  });
  const float sum = S::sum(sum_lanes);
  const V inverse = S::set(1 / sum);
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    lanes.store(args.x + j, S::mul(inverse, lanes.load(args.x + j)));
  });
  zero_outside(args.x, args.begin, args.end, args.n);
  *args.lse = largest + std::log(sum);
}

template <class S>
void softmax_backward_row_vector(const SoftmaxBackwardRow& args) {
  using V = typename S::V;
  const V scale = S::set(args.scale), lse = S::set(-args.lse);
  // exp_of_negative needs l - lse <= 0, which rounding may miss by an ulp. min gives its second
  // operand where one is NaN, and NaN must stay.
  const auto probability = [&](V score) {
    return exp_of_negative<S>(S::min(S::zero(), S::fma(scale, score, lse)));
  };
  // The probabilities are divided by their own sum: an lse rounded to float32 scales them all, and
  // the error would be multiplied by scores that may be large.
  V mean_lanes = S::zero(), sum_lanes = S::zero();
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    const V p = probability(scores_at<S>(args.x, args.y, j, lanes));
    mean_lanes = S::fma(p, lanes.load(args.dp + j), mean_lanes);
    sum_lanes = S::add(sum_lanes, lanes.first(p, S::zero()));
  });
  const float inverse_sum = 1 / S::sum(sum_lanes);
  const V inverse = S::set(inverse_sum), mean = S::set(-S::sum(mean_lanes) * inverse_sum);
  V dscale_lanes = S::zero();
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    const V score = scores_at<S>(args.x, args.y, j, lanes);
    const V p = S::mul(inverse, probability(score));
    const V ds = S::mul(p, S::add(lanes.load(args.dp + j), mean));
    dscale_lanes = S::fma(lanes.first(ds, S::zero()), score, dscale_lanes);
    lanes.store(args.x + j, p);
    lanes.store(args.dp + j, S::mul(scale, ds));
  });
  zero_outside(args.x, args.begin, args.end, args.n);
  zero_outside(args.dp, args.begin, args.end, args.n);
  *args.dscale += S::sum(dscale_lanes);
}

}  // namespace
}  // namespace mote::kernels
