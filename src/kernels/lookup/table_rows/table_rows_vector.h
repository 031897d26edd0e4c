// Products with picked rows for any vector type of core/simd.h; included by the variant files only.
//
// Rows lie anywhere in a table that fits no cache, so several are read in step, and the lines of those
// that come kBytesAhead later are brought to the L2 cache meanwhile: the L1 cache's few slots for lines
// under way would be the limit.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/lookup/table_rows/table_rows.h"

namespace mote::kernels {
namespace {

constexpr int kInStep = 4;  // rows read together
constexpr Index kBytesAhead = Index{48} << 10;

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

// Elements of a line of memory.
template <class Element>
constexpr Index kLine = 64 / static_cast<Index>(sizeof(Element));

// How many pairs ahead rows are asked for.
template <class Element>
[[gnu::always_inline]] inline Index pairs_ahead(const Table& table) {
  const Index bytes = table.columns * static_cast<Index>(sizeof(Element));
  return bytes > 0 ? kBytesAhead / bytes + kInStep : 0;
}

// The rows of kCount pairs from `pair` on, and those further ahead.
template <class Element, int kCount>
struct PickedRows {
  const Element *row[kCount], *ahead[kCount];
  [[gnu::always_inline]] PickedRows(const Table& table, const std::int32_t* index, Index pair,
                                    Index end, Index far) {
    const auto* base = static_cast<const Element*>(table.data);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const Index later = pair + i + far;
      row[i] = base + index[pair + i] * table.stride;
      ahead[i] = base + index[later < end ? later : end - 1] * table.stride;
    }
  }
  [[gnu::always_inline]] void ask_for(Index d) const {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) __builtin_prefetch(ahead[i] + d, 0, 2);
  }
};

template <class S, class Rows, int kCount>
[[gnu::always_inline]] inline void dots_of(const RowDots& args, Index pair, Index end, Index far,
                                           const float* x) {
  using Element = typename Rows::Element;
  const PickedRows<Element, kCount> rows(args.table, args.index, pair, end, far);
  const Index columns = args.table.columns;
  typename S::V sums[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) sums[i] = S::zero();
  Index d = 0;
  for (; d + kLine<Element> <= columns; d += kLine<Element>) {
    rows.ask_for(d);
#pragma GCC unroll 4
    for (int v = 0; v < kLine<Element>; v += S::kLanes) {
      const typename S::V xv = S::load(x + d + v);
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i)
        sums[i] = S::fma(Rows::load(rows.row[i] + d + v), xv, sums[i]);
    }
  }
  if (d < columns) rows.ask_for(d);
  for (; d < columns; d += S::kLanes) {
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
  const Index far = pairs_ahead<typename Rows::Element>(args.table);
  for (Index n = 0; n < outputs; ++n) {
    const float* x = args.x_ND.row(n);
    Index p = n * args.per_output;
    const Index stop = p + args.per_output;
    for (; p + kInStep <= stop; p += kInStep) dots_of<S, Rows, kInStep>(args, p, end, far, x);
    for (; p < stop; ++p) dots_of<S, Rows, 1>(args, p, end, far, x);
  }
}

// y = [y +] the weighted rows of kCount pairs.
template <class S, class Rows, int kCount>
[[gnu::always_inline]] inline void add_rows(const RowSums& args, Index pair, Index end, Index far,
                                            bool add, float* y) {
  using Element = typename Rows::Element;
  const PickedRows<Element, kCount> rows(args.table, args.index, pair, end, far);
  const Index columns = args.table.columns;
  typename S::V weights[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) weights[i] = S::set(args.weight ? args.weight[pair + i] : 1.0f);
  Index d = 0;
  for (; d + kLine<Element> <= columns; d += kLine<Element>) {
    rows.ask_for(d);
#pragma GCC unroll 4
    for (int v = 0; v < kLine<Element>; v += S::kLanes) {
      typename S::V sum = add ? S::load(y + d + v) : S::zero();
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i)
        sum = S::fma(weights[i], Rows::load(rows.row[i] + d + v), sum);
      S::store(y + d + v, sum);
    }
  }
  if (d < columns) rows.ask_for(d);
  for (; d < columns; d += S::kLanes) {
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
  const Index end = args.begin(outputs), far = pairs_ahead<typename Rows::Element>(args.table);
  for (Index n = 0; n < outputs; ++n) {
    float* y = args.y_ND.row(n);
    Index p = args.begin(n);
    const Index stop = args.begin(n + 1);
    bool add = args.add;
    if (p == stop && !add)
      for (Index d = 0; d < columns; ++d) y[d] = 0;
    for (; p + kInStep <= stop; p += kInStep, add = true)
      add_rows<S, Rows, kInStep>(args, p, end, far, add, y);
    for (; p < stop; ++p, add = true) add_rows<S, Rows, 1>(args, p, end, far, add, y);
  }
}

}  // namespace
}  // namespace mote::kernels
