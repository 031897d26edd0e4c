// For any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/limits/limits.h"
#include "kernels/core/simd.h"

namespace mote::kernels {
namespace {

template <class S>
void peak_flops_vector(const PeakFlops& args) {
  // Ten independent sums hide the latency of two multiply-adds a cycle.
  constexpr int kSums = 10;
  typename S::V sum[kSums];
#pragma GCC unroll 10
  for (int i = 0; i < kSums; ++i) sum[i] = S::set(static_cast<float>(i));
  typename S::V half = S::set(0.5f), quarter = S::set(0.25f);
  for (Index r = 0; r < args.rounds; ++r) {
#pragma GCC unroll 10
    for (int i = 0; i < kSums; ++i) {
      sum[i] = S::fma(sum[i], half, quarter);
      asm volatile("" : "+v"(sum[i]));  // each one happens
    }
  }
  typename S::V total = S::zero();
#pragma GCC unroll 10
  for (int i = 0; i < kSums; ++i) total = S::add(total, sum[i]);
  *args.sink = S::sum(total);
  *args.operations = args.rounds * kSums * S::kLanes * 2;
}

template <class S>
void read_sum_vector(const ReadSum& args) {
  typename S::V sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
  for (Index i = 0; i < args.count; i += 4 * S::kLanes) {
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part)
      sum[part] = S::add(sum[part], S::load(args.data + i + part * S::kLanes));
  }
  *args.sum = S::sum(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])));
}

template <class S>
void read_rows_vector(const ReadRows& args) {
  constexpr Index kAhead = 48;
  typename S::V sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
  for (Index r = 0; r < args.rows; ++r) {
    const float* row = args.data + args.index[r] * args.columns;
    const float* later =
        args.data + args.index[r + kAhead < args.rows ? r + kAhead : r] * args.columns;
    for (Index i = 0; i < args.columns; i += 4 * S::kLanes) {
      for (int line = 0; line < 4 * S::kLanes; line += 16)
        __builtin_prefetch(later + i + line, 0, 2);
#pragma GCC unroll 4
      for (int part = 0; part < 4; ++part)
        sum[part] = S::add(sum[part], S::load(row + i + part * S::kLanes));
    }
  }
  *args.sum = S::sum(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])));
}

}  // namespace
}  // namespace mote::kernels
