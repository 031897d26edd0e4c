// The blocked product, written once for any vector type S of core/simd.h and included by the
// variant files only.
//
// Loops, from the outside: columns of c by kMaxColumns, k by kDepth, rows by kMaxRows. Operands are
// packed into panels: a into S::kRows rows stored kLanes wide ([k][lane]), b into two vectors of
// columns ([k][2 * kLanes]). The micro-kernel keeps a tile of kRows x 2 vectors in registers and
// walks k once; so each sum runs over k in order.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/linear/gemm/gemm_blocking.h"

namespace mote::kernels {
namespace {

[[gnu::always_inline]] inline Index min_index(Index a, Index b) {
  return a < b ? a : b;
}

// What happens to a finished tile. max(0, x) in this order of operands keeps a NaN.
struct Finish {
  float* c;
  Index stride;
  Index columns;      // columns of the tile that exist
  bool add;           // to what c holds
  const float* bias;  // of the tile's first column, or null
  bool relu;
};

template <class S, int Vectors>
[[gnu::always_inline]] inline void finish_row(const Finish& f, int row,
                                              typename S::V (&sum)[Vectors]) {
  float* c = f.c + row * f.stride;
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) {
    const Index left = f.columns - v * S::kLanes;
    if (left <= 0) return;
    float* at = c + v * S::kLanes;
    typename S::V value = sum[v];
    if (left >= S::kLanes) {
      if (f.add) value = S::add(S::load(at), value);
      if (f.bias) value = S::add(value, S::load(f.bias + v * S::kLanes));
      if (f.relu) value = S::max(S::zero(), value);
      S::store(at, value);
    } else {
      if (f.add) value = S::add(S::load(at, left), value);
      if (f.bias) value = S::add(value, S::load(f.bias + v * S::kLanes, left));
      if (f.relu) value = S::max(S::zero(), value);
      S::store(at, value, left);
    }
  }
}

// `steps` is k in float32 and ceil(k / 2) in bf16, where a step multiplies a pair.
template <class S, int NumRows, int Vectors>
void micro(Index steps, const float* a, const float* b, const Finish& f) {
  typename S::V sum[NumRows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[r][v] = S::zero();
  for (Index k = 0; k < steps; ++k) {
    typename S::V column[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) column[v] = S::load(b + v * S::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < NumRows; ++r) {
      const typename S::V value = S::broadcast(a + r);
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[r][v] = S::multiply_add(value, column[v], sum[r][v]);
    }
    a += S::kLanes;
    b += 2 * S::kLanes;
  }
#pragma GCC unroll 16
  for (int r = 0; r < NumRows; ++r) finish_row<S, Vectors>(f, r, sum[r]);
}

using Micro = void (*)(Index, const float*, const float*, const Finish&);

template <class S, int... Counts>
constexpr void fill_micro(Micro (&table)[sizeof...(Counts)][2],
                          std::integer_sequence<int, Counts...>) {
  ((table[Counts][0] = micro<S, Counts + 1, 1>, table[Counts][1] = micro<S, Counts + 1, 2>), ...);
}

template <class S>
struct MicroTable {
  Micro rows[S::kRows][2];
  constexpr MicroTable() : rows() {
    fill_micro<S>(rows, std::make_integer_sequence<int, S::kRows>());
  }
};

// Packs `width` <= kLanes outer elements of x from `outer`, and all of k in [first, first + depth),
// to out[step * out_stride + lane]; lanes beyond width are 0.
template <class S>
void pack_lanes(const Operand& x, Index outer, Index width, Index first, Index depth, float* out,
                Index out_stride) {
  using V = typename S::V;
  if (x.rows == Rows::inner) {
    const auto row = [&](Index k) {
      const Index at = first + k;
      const V value = S::load(x.data + (x.pick ? x.pick[at] : at) * x.stride + outer, width);
      return x.scale ? S::mul(value, S::set(x.scale[at])) : value;
    };
    for (Index k = 0; k < depth; k += S::kPerStep, out += out_stride)
      S::store_step(out, row(k), S::kPerStep == 1 || k + 1 == depth ? S::zero() : row(k + 1));
    return;
  }
  const float* rows[S::kLanes];
  for (Index i = 0; i < S::kLanes; ++i) {
    const Index at = outer + (i < width ? i : 0);
    rows[i] = x.data + (x.pick ? x.pick[at] : at) * x.stride + first;
  }
  for (Index k = 0; k < depth; k += S::kLanes) {
    const Index count = min_index(S::kLanes, depth - k);
    V block[S::kLanes];
    if (width == S::kLanes && count == S::kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; ++i) block[i] = S::load(rows[i] + k);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; ++i)
        block[i] = i < width ? S::load(rows[i] + k, count) : S::zero();
    }
    S::transpose(block);
    if (count == S::kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; i += S::kPerStep, out += out_stride)
        S::store_step(out, block[i], S::kPerStep == 1 ? S::zero() : block[i + 1]);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; i += S::kPerStep)
        if (i < count) {
          S::store_step(out, block[i], S::kPerStep == 1 ? S::zero() : block[i + 1]);
          out += out_stride;
        }
    }
  }
}

template <class S>
void gemm_blocked(const Gemm& g, float* scratch) {
  static constexpr MicroTable<S> kMicro;
  constexpr Index kPanelColumns = 2 * S::kLanes;
  static_assert((kMaxRows + S::kRows - 1) / S::kRows * S::kLanes <= kMaxRows + kPanelSlack);
  static_assert(kMaxColumns % kPanelColumns == 0);
  float* packed_a = scratch;
  float* packed_b = scratch + (kMaxRows + kPanelSlack) * kDepth;
  for (Index j0 = 0; j0 < g.n; j0 += kMaxColumns) {
    const Index columns = min_index(kMaxColumns, g.n - j0);
    for (Index k0 = 0; k0 == 0 || k0 < g.k; k0 += kDepth) {
      const Index depth = min_index(kDepth, g.k - k0);
      const Index steps = (depth + S::kPerStep - 1) / S::kPerStep;
      const bool last = k0 + kDepth >= g.k;
      for (Index j = 0; j < columns; j += S::kLanes) {
        float* panel = packed_b + j / kPanelColumns * (kPanelColumns * steps) + j % kPanelColumns;
        pack_lanes<S>(g.b, j0 + j, min_index(S::kLanes, columns - j), k0, depth, panel,
                      kPanelColumns);
      }
      for (Index i0 = 0; i0 < g.m; i0 += kMaxRows) {
        const Index rows = min_index(kMaxRows, g.m - i0);
        for (Index i = 0, panel = 0; i < rows; i += S::kRows, ++panel)
          pack_lanes<S>(g.a, i0 + i, min_index(S::kRows, rows - i), k0, depth,
                        packed_a + panel * S::kLanes * steps, S::kLanes);
        for (Index j = 0; j < columns; j += kPanelColumns) {
          const Index width = min_index(kPanelColumns, columns - j);
          const int vectors = width > S::kLanes ? 2 : 1;
          const float* b = packed_b + j * steps;
          for (Index i = 0, panel = 0; i < rows; i += S::kRows, ++panel) {
            const Finish f{g.c + (i0 + i) * g.c_stride + j0 + j,
                           g.c_stride,
                           width,
                           g.accumulate || k0 > 0,
                           last && g.bias ? g.bias + j0 + j : nullptr,
                           last && g.relu};
            const Index count = min_index(S::kRows, rows - i);
            kMicro.rows[count - 1][vectors - 1](steps, packed_a + panel * S::kLanes * steps, b, f);
          }
        }
      }
    }
  }
}

// Few rows: packing b would cost more than the product. Both operands have k along their stored
// rows; each c is a dot product whose lanes are summed at the end.
template <class S, int NumRows, int Columns>
[[gnu::always_inline]] inline void dots(const Gemm& g, Index i, Index j) {
  using V = typename S::V;
  const float *a[NumRows], *b[Columns];
  V sum[NumRows][Columns];
#pragma GCC unroll 4
  for (int r = 0; r < NumRows; ++r)
    a[r] = g.a.data + (g.a.pick ? g.a.pick[i + r] : i + r) * g.a.stride;
#pragma GCC unroll 4
  for (int c = 0; c < Columns; ++c)
    b[c] = g.b.data + (g.b.pick ? g.b.pick[j + c] : j + c) * g.b.stride;
#pragma GCC unroll 4
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) sum[r][c] = S::zero();
  Index k = 0;
  for (; k + S::kLanes <= g.k; k += S::kLanes) {
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) {
      const V column = S::load(b[c] + k);
#pragma GCC unroll 4
      for (int r = 0; r < NumRows; ++r) sum[r][c] = S::fma(S::load(a[r] + k), column, sum[r][c]);
    }
  }
  if (k < g.k) {
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) {
      const V column = S::load(b[c] + k, g.k - k);
#pragma GCC unroll 4
      for (int r = 0; r < NumRows; ++r)
        sum[r][c] = S::fma(S::load(a[r] + k, g.k - k), column, sum[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) {
      float* at = g.c + (i + r) * g.c_stride + j + c;
      float value = S::sum(sum[r][c]);
      if (g.accumulate) value += *at;
      if (g.bias) value += g.bias[j + c];
      *at = g.relu && value < 0 ? 0 : value;
    }
}

inline constexpr Index kFewRows = 6;

template <class S>
bool gemm_few_rows(const Gemm& g) {
  if (g.m > kFewRows || g.a.rows != Rows::outer || g.b.rows != Rows::outer) return false;
  for (Index i = 0; i < g.m;) {
    const int rows = g.m - i >= 2 ? 2 : 1;
    Index j = 0;
    if (rows == 2) {
      for (; j + 4 <= g.n; j += 4) dots<S, 2, 4>(g, i, j);
      for (; j < g.n; ++j) dots<S, 2, 1>(g, i, j);
    } else {
      for (; j + 4 <= g.n; j += 4) dots<S, 1, 4>(g, i, j);
      for (; j < g.n; ++j) dots<S, 1, 1>(g, i, j);
    }
    i += rows;
  }
  return true;
}

}  // namespace
}  // namespace mote::kernels
