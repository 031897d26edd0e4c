// The inner loops for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include <cmath>

#include "kernels/core/simd.h"
#include "kernels/sequence/attention/attention_loops.h"

namespace mote::kernels {
namespace {

template <class S>
void scaled_row(const ScaledRow& args) {
  const typename S::V factor = S::set(args.factor);
  for_vectors<S>(0, args.n, [&](Index j, auto lanes) {
    const auto x = lanes.load(args.x + j);
    lanes.store(args.y + j,
                args.add ? S::fma(factor, x, lanes.load(args.add + j)) : S::mul(factor, x));
  });
}

template <class S>
float dot(const float* a, const float* b, Index n) {
  typename S::V sum = S::zero();
  for_vectors<S>(
      0, n, [&](Index j, auto lanes) { sum = S::fma(lanes.load(a + j), lanes.load(b + j), sum); });
  return S::sum(sum);
}

template <class S, class Args, class Lanes>
[[gnu::always_inline]] inline typename S::V score_at(const Args& args, Index j,
                                                     const Lanes& lanes) {
  const typename S::V x = lanes.load(args.x + j);
  return args.y ? S::add(x, lanes.load(args.y + j)) : x;
}

// scale * score + bias + add
template <class S, class Args, class Lanes>
[[gnu::always_inline]] inline typename S::V logit_at(const Args& args, typename S::V score,
                                                     typename S::V add, Index j,
                                                     const Lanes& lanes) {
  const typename S::V l = S::fma(S::set(args.scale), score, add);
  return args.bias ? S::add(l, lanes.load(args.bias + j)) : l;
}

template <class S>
void zero_outside(float* x, Index begin, Index end, Index n) {
  const auto zero = [&](Index j, auto lanes) { lanes.store(x + j, S::zero()); };
  for_vectors<S>(0, begin < n ? begin : n, zero);
  for_vectors<S>(end > 0 ? end : 0, n, zero);
}

template <class S>
float softmax_step(const SoftmaxStep& args) {
  using V = typename S::V;
  if (args.begin >= args.end) {
    zero_outside<S>(args.x, args.n, args.n, args.n);
    return 1;
  }
  const V lowest = S::set(-3.0e38f);
  V largest_lanes = lowest;
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    const V l = logit_at<S>(args, score_at<S>(args, j, lanes), S::zero(), j, lanes);
    largest_lanes = S::max(largest_lanes, lanes.first(l, lowest));
    lanes.store(args.x + j, l);
  });
  const float before = *args.largest, here = S::largest(largest_lanes);
  const float largest = before > here ? before : here;
  V sum_lanes = S::zero();
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    const V p = exp_of_negative<S>(S::add(lanes.load(args.x + j), S::set(-largest)));
    sum_lanes = S::add(sum_lanes, lanes.first(p, S::zero()));
    lanes.store(args.x + j, p);
  });
  zero_outside<S>(args.x, args.begin, args.end, args.n);
  // Where nothing was summed there is nothing to multiply.
  const float kept = *args.sum == 0 ? 1 : S::largest(exp_of_negative<S>(S::set(before - largest)));
  *args.largest = largest;
  *args.sum = *args.sum * kept + S::sum(sum_lanes);
  return kept;
}

template <class S>
void softmax_backward_step(const SoftmaxBackwardStep& args) {
  using V = typename S::V;
  const V scale = S::set(args.scale), mean = S::set(-args.mean_dp), lse = S::set(-args.lse);
  V ds_score = S::zero(), ds_sum = S::zero(), p_score = S::zero();
  for_vectors<S>(args.begin, args.end, [&](Index j, auto lanes) {
    const V score = score_at<S>(args, j, lanes);
    // Rounding may bring a logit above the lse. min gives its second operand where one is NaN, and
    // NaN must stay.
    const V p = exp_of_negative<S>(S::min(S::zero(), logit_at<S>(args, score, lse, j, lanes)));
    const V ds = S::mul(p, S::add(lanes.load(args.dp + j), mean));
    if (args.for_scale) {
      const V seen = lanes.first(ds, S::zero());
      ds_score = S::fma(seen, score, ds_score);
      ds_sum = S::add(seen, ds_sum);
      p_score = S::fma(p, score, p_score);
    }
    lanes.store(args.x + j, p);
    lanes.store(args.dp + j, S::mul(scale, ds));
    if (args.dbias) lanes.store(args.dbias + j, S::add(lanes.load(args.dbias + j), ds));
  });
  zero_outside<S>(args.x, args.begin, args.end, args.n);
  zero_outside<S>(args.dp, args.begin, args.end, args.n);
  if (!args.for_scale) return;
  args.for_scale->ds_score += S::sum(ds_score);
  args.for_scale->ds += S::sum(ds_sum);
  args.for_scale->p_score += S::sum(p_score);
}

// The products of one q with kLanes neighbouring rows of k: their sums by lanes are transposed, so
// that one vector holds them.
template <class S>
[[gnu::always_inline]] inline typename S::V square_of_scores(const float* q, const float* k,
                                                             Index stride, Index width) {
  typename S::V sum[S::kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < S::kLanes; ++i) sum[i] = S::zero();
  for_vectors<S>(0, width, [&](Index c, auto lanes) {
    const typename S::V x = lanes.load(q + c);
#pragma GCC unroll 4
    for (int i = 0; i < S::kLanes; i += 4) {
      const float* row = k + i * stride + c;
      sum[i] = S::fma(x, lanes.load(row), sum[i]);
      sum[i + 1] = S::fma(x, lanes.load(row + stride), sum[i + 1]);
      sum[i + 2] = S::fma(x, lanes.load(row + 2 * stride), sum[i + 2]);
      sum[i + 3] = S::fma(x, lanes.load(row + 3 * stride), sum[i + 3]);
    }
  });
  S::transpose(sum);
#pragma GCC unroll 4
  for (int step = S::kLanes / 2; step > 0; step /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < step; ++i) sum[i] = S::add(sum[i], sum[i + step]);
  return sum[0];
}

template <class S>
void few_scores(const FewScores& args) {
  Index j = 0;
  for (; j + S::kLanes <= args.keys; j += S::kLanes)
    for (Index i = 0; i < args.rows; ++i)
      S::store(args.x + i * args.x_stride + j,
               square_of_scores<S>(args.q + i * args.q_stride, args.k + j * args.k_stride,
                                   args.k_stride, args.width));
  for (; j < args.keys; ++j)
    for (Index i = 0; i < args.rows; ++i)
      args.x[i * args.x_stride + j] =
          dot<S>(args.q + i * args.q_stride, args.k + j * args.k_stride, args.width);
}

// `Rows` sums of `Vectors` vectors of columns from c on; v is read once for all of them.
template <class S, int Rows, int Vectors, class Lanes>
[[gnu::always_inline]] inline void columns_of_sums(const FewSums& args, Index i, Index c,
                                                   const Lanes& lanes) {
  using V = typename S::V;
  const float* v = args.v + c;
  const float* p = args.p + i * args.p_stride;
  float* o = args.o + i * args.o_stride + c;
  V sum[Rows][Vectors];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < Vectors; ++n) sum[r][n] = lanes.load(o + r * args.o_stride + n * S::kLanes);
  for (Index j = 0; j < args.keys; ++j, v += args.v_stride) {
    V value[Vectors];
#pragma GCC unroll 4
    for (int n = 0; n < Vectors; ++n) value[n] = lanes.load(v + n * S::kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const V weight = S::broadcast(p + r * args.p_stride + j);
#pragma GCC unroll 4
      for (int n = 0; n < Vectors; ++n) sum[r][n] = S::fma(weight, value[n], sum[r][n]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < Vectors; ++n) lanes.store(o + r * args.o_stride + n * S::kLanes, sum[r][n]);
}

// All columns of `Rows` sums. Two rows and four vectors are what 16 registers hold.
template <class S, int Rows>
void rows_of_sums(const FewSums& args, Index i) {
  Index c = 0;
  for (; c + 4 * S::kLanes <= args.width; c += 4 * S::kLanes)
    columns_of_sums<S, Rows, 4>(args, i, c, AllLanes<S>{});
  if (c + 2 * S::kLanes <= args.width) {
    columns_of_sums<S, Rows, 2>(args, i, c, AllLanes<S>{});
    c += 2 * S::kLanes;
  }
  if (c + S::kLanes <= args.width) {
    columns_of_sums<S, Rows, 1>(args, i, c, AllLanes<S>{});
    c += S::kLanes;
  }
  if (c < args.width) columns_of_sums<S, Rows, 1>(args, i, c, FirstLanes<S>{args.width - c});
}

template <class S>
void few_sums(const FewSums& args) {
  Index i = 0;
  for (; i + 2 <= args.rows; i += 2) rows_of_sums<S, 2>(args, i);
  if (i < args.rows) rows_of_sums<S, 1>(args, i);
}

template <class S>
constexpr AttentionLoops attention_loops() {
  return {scaled_row<S>, dot<S>,     softmax_step<S>, softmax_backward_step<S>,
          few_scores<S>, few_sums<S>};
}

}  // namespace
}  // namespace mote::kernels
