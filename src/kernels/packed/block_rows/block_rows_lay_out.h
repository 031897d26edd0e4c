// Activations in 8 bits as products with rows of GGUF's blocks read them: groups of 32 columns with
// their residuals (product/int8_rows.h), or the floats that those stand for.
#pragma once

#include "kernels/packed/block_rows/block_rows_unpack.h"
#include "kernels/packed/product/int8_rows.h"
#include "kernels/packed/product/int8_rows_vector.h"

namespace mote::kernels {
namespace {

// The zero of a type, for the sums that layouts hold.
[[gnu::always_inline]] inline int zero_of(BlockForm form) {
  switch (form) {
    case BlockForm::q4_0:
      return BlockQ4_0::kZero;
    case BlockForm::q5_0:
      return BlockQ5_0::kZero;
    case BlockForm::q8_0:
      return BlockQ8_0::kZero;
    case BlockForm::q6_k:
      return BlockQ6_K::kZero;
    default:
      return 0;
  }
}

template <class S>
[[gnu::always_inline]] inline void lay_out_group(const float* x, int zero, bool halves,
                                                 BlockInt8& to) {
  using V = typename S::V;
  constexpr int kVectors = static_cast<int>(kBlockGroup) / S::kLanes;
  V v[kVectors], largest = S::zero();
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    v[i] = S::load(x + i * S::kLanes);
    largest = S::max(largest, S::max(v[i], S::mul(v[i], S::set(-1.0f))));
  }
  to.scale = S::largest(largest) / 127;
  typename S::I sums[2] = {S::none(), S::none()};
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    typename S::I whole = S::none();
    if (to.scale > 0)
      whole = S::whole(
          S::max(S::set(-127.0f), S::min(S::set(127.0f), S::divide(v[i], S::set(to.scale)))));
    S::store(to.x + i * S::kLanes, whole);
    sums[2 * i / kVectors] = S::add(sums[2 * i / kVectors], whole);
  }
  std::int32_t sum[2] = {S::total(sums[0]), S::total(sums[1])};
  if (!halves) sum[0] += sum[1];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    to.start[half] = -zero * sum[half];
    to.sum[half] = to.scale * static_cast<float>(sum[half]);
  }
}

// What rounding left of 32 columns.
[[gnu::always_inline]] inline void residual_of(const float* x, const BlockInt8& group,
                                               float (&residual)[kBlockGroup]) {
  for (int i = 0; i < kBlockGroup; ++i)
    residual[i] = x[i] - group.scale * static_cast<float>(group.x[i]);
}

// A row's groups and residuals.
template <class S>
[[gnu::always_inline]] inline void lay_out_row(const float* x, Index groups, int zero, bool halves,
                                               BlockInt8* to) {
  float sum_of_squares = 0;
  for (Index g = 0; g < groups; ++g) {
    lay_out_group<S>(x + g * kBlockGroup, zero, halves, to[g]);
    sum_of_squares += to[g].scale * to[g].scale;
  }
  constexpr Index kDepth = kBlockDepth / kBlockGroup;
  for (Index g = 0; g < groups; ++g) {
    to[groups + g] = {};
    to[g].residuals = 0;
    if (!has_residual(to[g].scale, groups, sum_of_squares)) continue;
    to[g / kDepth * kDepth].residuals |= 1u << g % kDepth;
    float residual[kBlockGroup];
    residual_of(x + g * kBlockGroup, to[g], residual);
    lay_out_group<S>(residual, zero, halves, to[groups + g]);
  }
}

// A row of the floats that those stand for.
template <class S>
[[gnu::always_inline]] inline void round_row(const float* x, Index groups, float* rounded) {
  BlockInt8 group;
  float sum_of_squares = 0;
  for (Index g = 0; g < groups; ++g) {
    lay_out_group<S>(x + g * kBlockGroup, 0, false, group);
    sum_of_squares += group.scale * group.scale;
  }
  for (Index g = 0; g < groups; ++g, x += kBlockGroup, rounded += kBlockGroup) {
    lay_out_group<S>(x, 0, false, group);
    for (int i = 0; i < kBlockGroup; ++i) rounded[i] = group.scale * static_cast<float>(group.x[i]);
    if (!has_residual(group.scale, groups, sum_of_squares)) continue;
    float residual[kBlockGroup];
    residual_of(x, group, residual);
    lay_out_group<S>(residual, 0, false, group);
    for (int i = 0; i < kBlockGroup; ++i)
      rounded[i] += group.scale * static_cast<float>(group.x[i]);
  }
}

// Rows of groups, or of floats for types that are decoded.
template <class S>
[[gnu::always_inline]] inline void lay_out_int8(const BlockRowsLayout& to) {
  const Index groups = to.w.columns / kBlockGroup;
  const int zero = zero_of(to.w.form);
  const bool halves = to.w.form == BlockForm::q6_k;
  for (Index t = 0; t < to.x.size(0); ++t)
    if (to.w.form == BlockForm::other)
      round_row<S>(to.x.row(t), groups, reinterpret_cast<float*>(to.layout) + t * to.w.columns);
    else
      lay_out_row<S>(to.x.row(t), groups, zero, halves,
                     reinterpret_cast<BlockInt8*>(to.layout) + t * 2 * groups);
}

}  // namespace
}  // namespace mote::kernels
