// The inner loops for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include <cmath>

#include "kernels/core/simd.h"
#include "kernels/sequence/attention/attention_loops.h"

namespace mote::kernels {
namespace {

// A whole vector, or what is left of one: only the last of a row is masked.
struct All {};
struct Some {
  Index n;
};

template <class S>
struct Lanes {
  using V = typename S::V;
  [[gnu::always_inline]] static V load(const float* p, All) { return S::load(p); }
  [[gnu::always_inline]] static V load(const float* p, Some part) { return S::load(p, part.n); }
  [[gnu::always_inline]] static void store(float* p, V v, All) { S::store(p, v); }
  [[gnu::always_inline]] static void store(float* p, V v, Some part) { S::store(p, v, part.n); }
  // The lanes that there are, else `fill`.
  [[gnu::always_inline]] static V only(V v, V, All) { return v; }
  [[gnu::always_inline]] static V only(V v, V fill, Some part) { return S::first(v, fill, part.n); }
};

template <class S, class Body>
[[gnu::always_inline]] inline void over(Index begin, Index end, const Body& body) {
  Index j = begin;
  for (; j + S::kLanes <= end; j += S::kLanes) body(j, All{});
  if (j < end) body(j, Some{end - j});
}

template <class S>
void scaled_row(const ScaledRow& args) {
  using L = Lanes<S>;
  const typename S::V factor = S::set(args.factor);
  over<S>(0, args.n, [&](Index j, auto part) {
    const auto x = L::load(args.x + j, part);
    L::store(args.y + j,
             args.add ? S::fma(factor, x, L::load(args.add + j, part)) : S::mul(factor, x), part);
  });
}

template <class S>
float dot(const float* a, const float* b, Index n) {
  typename S::V sum = S::zero();
  over<S>(0, n, [&](Index j, auto part) {
    sum = S::fma(Lanes<S>::load(a + j, part), Lanes<S>::load(b + j, part), sum);
  });
  return S::sum(sum);
}

template <class S, class Args, class Part>
[[gnu::always_inline]] inline typename S::V score_at(const Args& args, Index j, Part part) {
  const typename S::V x = Lanes<S>::load(args.x + j, part);
  return args.y ? S::add(x, Lanes<S>::load(args.y + j, part)) : x;
}

// scale * score + bias + add
template <class S, class Args, class Part>
[[gnu::always_inline]] inline typename S::V logit_at(const Args& args, typename S::V score,
                                                     typename S::V add, Index j, Part part) {
  const typename S::V l = S::fma(S::set(args.scale), score, add);
  return args.bias ? S::add(l, Lanes<S>::load(args.bias + j, part)) : l;
}

template <class S>
void zero_outside(float* x, Index begin, Index end, Index n) {
  const auto zero = [&](Index j, auto part) { Lanes<S>::store(x + j, S::zero(), part); };
  over<S>(0, begin < n ? begin : n, zero);
  over<S>(end > 0 ? end : 0, n, zero);
}

template <class S>
float softmax_step(const SoftmaxStep& args) {
  using V = typename S::V;
  using L = Lanes<S>;
  if (args.begin >= args.end) {
    zero_outside<S>(args.x, args.n, args.n, args.n);
    return 1;
  }
  const V lowest = S::set(-3.0e38f);
  V largest_lanes = lowest;
  over<S>(args.begin, args.end, [&](Index j, auto part) {
    const V l = logit_at<S>(args, score_at<S>(args, j, part), S::zero(), j, part);
    largest_lanes = S::max(largest_lanes, L::only(l, lowest, part));
    L::store(args.x + j, l, part);
  });
  const float before = *args.largest, here = S::largest(largest_lanes);
  const float largest = before > here ? before : here;
  V sum_lanes = S::zero();
  over<S>(args.begin, args.end, [&](Index j, auto part) {
    const V p = exp_of_negative<S>(S::add(L::load(args.x + j, part), S::set(-largest)));
    sum_lanes = S::add(sum_lanes, L::only(p, S::zero(), part));
    L::store(args.x + j, p, part);
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
  using L = Lanes<S>;
  const V scale = S::set(args.scale), mean = S::set(-args.mean_dp), lse = S::set(-args.lse);
  V ds_score = S::zero(), ds_sum = S::zero(), p_score = S::zero();
  over<S>(args.begin, args.end, [&](Index j, auto part) {
    const V score = score_at<S>(args, j, part);
    // Rounding may bring a logit above the lse. min gives its second operand where one is NaN, and
    // NaN must stay.
    const V p = exp_of_negative<S>(S::min(S::zero(), logit_at<S>(args, score, lse, j, part)));
    const V ds = S::mul(p, S::add(L::load(args.dp + j, part), mean));
    if (args.for_scale) {
      const V seen = L::only(ds, S::zero(), part);
      ds_score = S::fma(seen, score, ds_score);
      ds_sum = S::add(seen, ds_sum);
      p_score = S::fma(p, score, p_score);
    }
    L::store(args.x + j, p, part);
    L::store(args.dp + j, S::mul(scale, ds), part);
    if (args.dbias) L::store(args.dbias + j, S::add(L::load(args.dbias + j, part), ds), part);
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
  over<S>(0, width, [&](Index c, auto part) {
    const typename S::V x = Lanes<S>::load(q + c, part);
#pragma GCC unroll 4
    for (int i = 0; i < S::kLanes; i += 4) {
      const float* row = k + i * stride + c;
      sum[i] = S::fma(x, Lanes<S>::load(row, part), sum[i]);
      sum[i + 1] = S::fma(x, Lanes<S>::load(row + stride, part), sum[i + 1]);
      sum[i + 2] = S::fma(x, Lanes<S>::load(row + 2 * stride, part), sum[i + 2]);
      sum[i + 3] = S::fma(x, Lanes<S>::load(row + 3 * stride, part), sum[i + 3]);
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
template <class S, int Rows, int Vectors, class Part>
[[gnu::always_inline]] inline void columns_of_sums(const FewSums& args, Index i, Index c,
                                                   Part part) {
  using V = typename S::V;
  using L = Lanes<S>;
  const float* v = args.v + c;
  const float* p = args.p + i * args.p_stride;
  float* o = args.o + i * args.o_stride + c;
  V sum[Rows][Vectors];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < Vectors; ++n)
      sum[r][n] = L::load(o + r * args.o_stride + n * S::kLanes, part);
  for (Index j = 0; j < args.keys; ++j, v += args.v_stride) {
    V value[Vectors];
#pragma GCC unroll 4
    for (int n = 0; n < Vectors; ++n) value[n] = L::load(v + n * S::kLanes, part);
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
    for (int n = 0; n < Vectors; ++n)
      L::store(o + r * args.o_stride + n * S::kLanes, sum[r][n], part);
}

// All columns of `Rows` sums. Two rows and four vectors are what 16 registers hold.
template <class S, int Rows>
void rows_of_sums(const FewSums& args, Index i) {
  Index c = 0;
  for (; c + 4 * S::kLanes <= args.width; c += 4 * S::kLanes)
    columns_of_sums<S, Rows, 4>(args, i, c, All{});
  if (c + 2 * S::kLanes <= args.width) {
    columns_of_sums<S, Rows, 2>(args, i, c, All{});
    c += 2 * S::kLanes;
  }
  if (c + S::kLanes <= args.width) {
    columns_of_sums<S, Rows, 1>(args, i, c, All{});
    c += S::kLanes;
  }
  if (c < args.width) columns_of_sums<S, Rows, 1>(args, i, c, Some{args.width - c});
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
