// Products with picked rows for any vector type of core/simd.h; included by the variant files only.
//
// Rows lie anywhere in a table that fits no cache, so several are read in step, and the lines of those
// that come kAhead pairs later are asked for meanwhile.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/lookup/table_rows/table_rows.h"

namespace mote::kernels {
namespace {

constexpr int kInStep = 4;    // rows read together
constexpr Index kAhead = 12;  // pairs

template <class S>
struct F32Rows {
  using Element = float;
  [[gnu::always_inline]] static typename S::V load(const float* p) { return S::load(p); }
  [[gnu::always_inline]] static typename S::V load(const float* p, Index n) {
    return S::load(p, n);
  }
};
template <class S>
struct Bf16Rows {
  using Element = Bf16;
  [[gnu::always_inline]] static typename S::V load(const Bf16* p) { return S::load_bf16(p); }
  [[gnu::always_inline]] static typename S::V load(const Bf16* p, Index n) {
    return S::load_bf16(p, n);
  }
};

// The rows of `count` pairs from `pair` on, and those kAhead further.
template <class Element, int kCount>
struct PickedRows {
  const Element *row[kCount], *ahead[kCount];
  [[gnu::always_inline]] PickedRows(const Table& table, const std::int32_t* index, Index pair,
                                    Index end) {
    const auto* base = static_cast<const Element*>(table.data);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const Index later = pair + i + kAhead;
      row[i] = base + index[pair + i] * table.stride;
      ahead[i] = base + index[later < end ? later : end - 1] * table.stride;
    }
  }
};

template <class S, class Rows, int kCount>
[[gnu::always_inline]] inline void dots_of(const RowDots& args, Index pair, Index end,
                                           const float* x) {
  const PickedRows<typename Rows::Element, kCount> rows(args.table, args.index, pair, end);
  const Index columns = args.table.columns;
  typename S::V sums[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) sums[i] = S::zero();
  Index d = 0;
  for (; d + S::kLanes <= columns; d += S::kLanes) {
    const typename S::V xd = S::load(x + d);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      __builtin_prefetch(rows.ahead[i] + d);
      sums[i] = S::fma(Rows::load(rows.row[i] + d), xd, sums[i]);
    }
  }
  if (d < columns) {
    const typename S::V xd = S::load(x + d, columns - d);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i)
      sums[i] = S::fma(Rows::load(rows.row[i] + d, columns - d), xd, sums[i]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) args.dots[pair + i] = S::sum(sums[i]);
}

template <class S, class Rows>
void row_dots_of(const RowDots& args) {
  const Index outputs = args.x_ND.size(0), end = outputs * args.per_output;
  for (Index n = 0; n < outputs; ++n) {
    const float* x = args.x_ND.row(n);
    Index p = n * args.per_output;
    const Index stop = p + args.per_output;
    for (; p + kInStep <= stop; p += kInStep) dots_of<S, Rows, kInStep>(args, p, end, x);
    for (; p < stop; ++p) dots_of<S, Rows, 1>(args, p, end, x);
  }
}

// y = [y +] the weighted rows of kCount pairs.
template <class S, class Rows, int kCount>
[[gnu::always_inline]] inline void add_rows(const RowSums& args, Index pair, Index end, bool add,
                                            float* y) {
  const PickedRows<typename Rows::Element, kCount> rows(args.table, args.index, pair, end);
  const Index columns = args.table.columns;
  typename S::V weights[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) weights[i] = S::set(args.weight ? args.weight[pair + i] : 1.0f);
  Index d = 0;
  for (; d + S::kLanes <= columns; d += S::kLanes) {
    typename S::V sum = add ? S::load(y + d) : S::zero();
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      __builtin_prefetch(rows.ahead[i] + d);
      sum = S::fma(weights[i], Rows::load(rows.row[i] + d), sum);
    }
    S::store(y + d, sum);
  }
  if (d < columns) {
    const Index left = columns - d;
    typename S::V sum = add ? S::load(y + d, left) : S::zero();
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i)
      sum = S::fma(weights[i], Rows::load(rows.row[i] + d, left), sum);
    S::store(y + d, sum, left);
  }
}

template <class S, class Rows>
void row_sums_of(const RowSums& args) {
  const Index outputs = args.y_ND.size(0), columns = args.table.columns;
  if (outputs == 0) return;
  const Index end = args.begin(outputs);
  for (Index n = 0; n < outputs; ++n) {
    float* y = args.y_ND.row(n);
    Index p = args.begin(n);
    const Index stop = args.begin(n + 1);
    bool add = args.add;
    if (p == stop && !add)
      for (Index d = 0; d < columns; ++d) y[d] = 0;
    for (; p + kInStep <= stop; p += kInStep, add = true)
      add_rows<S, Rows, kInStep>(args, p, end, add, y);
    for (; p < stop; ++p, add = true) add_rows<S, Rows, 1>(args, p, end, add, y);
  }
}

}  // namespace
}  // namespace mote::kernels
