// c's transpose: rows of b, where they lie, times panels of a; for the variant files only.
//
// b is read once for each block of rows of a, in the order of its rows, and asked for a tile ahead;
// only a is laid out, which is the smaller of the two or stays in the L2 cache. Tiles of c are summed
// with columns down, blocks of depth one after the other, then turned and finished.
#pragma once

#include "kernels/linear/gated/gated_vector.h"
#include "kernels/linear/gemm/gemm_blocked.h"
#include "kernels/linear/gemm/gemm_few_rows.h"

namespace mote::kernels {
namespace {

// Rows of b as a tile reads them (those behind the last are it once more), and where the next
// tile's lie.
template <int NumRows>
struct RowsOfB {
  const float* at[NumRows];
  const char* next[NumRows];
  Index next_step;  // bytes
  [[gnu::always_inline]] void ask_for_next(Index step) const {
#pragma GCC unroll 8
    for (int r = 0; r < NumRows; ++r) __builtin_prefetch(next[r] + step * next_step, 0, 2);
  }
};

// Sums of a tile: from steps [first, first + count), to those of the steps before.
struct TransposedTile {
  Index first, count;
  const float* panel;  // of a, from the first step on
  float* sums;         // of b's first row
  Index pitch;         // from row to row
};

template <class S, int NumRows, int Vectors>
void transposed_micro(const RowsOfB<NumRows>& b, const TransposedTile& t) {
  using V = typename S::V;
  constexpr Index kAtOnce = 16;  // a line of float32
  const float* panel = t.panel;
  V sum[NumRows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) sum[r][v] = S::zero();
  const auto add = [&](Index s) __attribute__((always_inline)) {
    V a[Vectors];
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) a[v] = S::load(panel + v * S::kLanes);
    panel += Vectors * S::kLanes;
#pragma GCC unroll 8
    for (int r = 0; r < NumRows; ++r) {
      const V value = S::broadcast(b.at[r] + s);
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) sum[r][v] = S::multiply_add(value, a[v], sum[r][v]);
    }
  };
  Index s = t.first;
  const Index end = t.first + t.count;
  for (; s + kAtOnce <= end; s += kAtOnce) {
    b.ask_for_next(s);
#pragma GCC unroll 4
    for (Index i = 0; i < kAtOnce; ++i) add(s + i);
  }
  for (; s < end; ++s) add(s);
#pragma GCC unroll 8
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) {
      float* to = t.sums + r * t.pitch + v * S::kLanes;
      S::store(to, t.first > 0 ? S::add(S::load(to), sum[r][v]) : sum[r][v]);
    }
}

// What multiplies rows of b by a panel of so many vectors of a's rows.
template <class S>
struct TransposedByVectors {
  // One vector of sums wants more rows, for as many sums as a multiply-add takes cycles.
  static constexpr int kRowsOfNarrow = S::kRows < 8 ? 8 : S::kRows;
  static constexpr Index kMostTail = 3 * S::kLanes / 8;

  template <int NumRows>
  static void multiply(const RowsOfB<NumRows>& b, Index vectors, const TransposedTile& tile) {
    if (vectors == 1) return transposed_micro<S, NumRows, 1>(b, tile);
    if constexpr (NumRows == S::kRows) {
      if (vectors == 2) return transposed_micro<S, NumRows, 2>(b, tile);
      if constexpr (S::kVectors == 3) transposed_micro<S, NumRows, 3>(b, tile);
    }
  }
};

// Rows [first, first + count) of a, with those that fill the last vector, and behind them some that
// would leave most of one empty: they sum in lanes as few rows do.
struct RowsOfA {
  Index first, count, padded, tail = 0;
  const float* tail_rows[8] = {};
};

template <class S>
void pack_rows_of_a(const GemmTransposed& block, const RowsOfA& a) {
  const Gemm& g = block.product;
  float* out = block.a_panels;
  for (Index k0 = 0; k0 < g.k; k0 += block.cut.depth) {
    const Index depth = min_index(block.cut.depth, g.k - k0);
    pack_b<S>(g.a, a.first, a.count, k0, depth, out);
    out += a.padded * steps_of<S>(depth);
  }
}

// Rows [j, j + NumRows) of b, or those that it has.
template <class S, Type T, int NumRows>
[[gnu::always_inline]] inline RowsOfB<NumRows> rows_of_b(const GemmTransposed& block,
                                                         const Operand& b, Index j) {
  const Gemm& g = block.product;
  constexpr bool kAsStored = !S::kRounds && (S::kPerStep == 2 ? T == Type::bf16 : T == Type::f32);
  constexpr bool kTiles = S::kStepUnit > 1;  // which want whole steps of rows that are evenly apart
  const bool direct = kAsStored && g.k % (S::kPerStep * S::kStepUnit) == 0 &&
                      (!kTiles || (!b.pick && j + NumRows <= g.n));
  const Index pitch = (steps_of<S>(g.k) + S::kLanes - 1) / S::kLanes * S::kLanes;
  if (!direct) copy_rows<S, T>(b, j, min_index(NumRows, g.n - j), 0, g.k, pitch, block.b_rows);
  RowsOfB<NumRows> rows;
  rows.next_step = S::kPerStep * size_of(T);
  for (int r = 0; r < NumRows; ++r) {
    const Index row = kTiles && !direct ? j + r : min_index(j + r, g.n - 1);
    rows.at[r] = direct ? reinterpret_cast<const float*>(stored_row(b, row))
                        : block.b_rows + (row - j) * pitch;
    rows.next[r] = stored_row(b, min_index(j + NumRows + r, g.n - 1));
  }
  return rows;
}

// Sums of rows [j, j + NumRows) of b with rows of a.
template <class S, class Tiles, Type T, int NumRows>
void sum_rows_of_b(const GemmTransposed& block, const RowsOfA& a, const Operand& b, Index j,
                   float* sums) {
  const Gemm& g = block.product;
  const RowsOfB<NumRows> rows = rows_of_b<S, T, NumRows>(block, b, j);
  const float* panel = block.a_panels;
  for (Index k0 = 0; k0 < g.k; k0 += block.cut.depth) {
    const Index steps = steps_of<S>(min_index(block.cut.depth, g.k - k0));
    for (Index i = 0, w; i < a.count; i += w, panel += w * steps) {
      w = panel_width<S>(a.count - i);
      Tiles::multiply(rows, w / S::kLanes, {k0 / S::kPerStep, steps, panel, sums + i, a.padded});
    }
  }
}

// Columns [j, j + count) of c from their sums.
template <class S>
void finish_transposed(const Gemm& g, const RowsOfA& a, const float* sums, Index j, Index count) {
  for (Index i = 0; i < a.count; i += S::kLanes)
    for (Index at = 0; at < count; at += S::kLanes) {
      typename S::V square[S::kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < S::kLanes; ++r) square[r] = S::load(sums + (at + r) * a.padded + i);
      S::transpose(square);
      const Index row = a.first + i;
      const Tile tile{
          g.c + row * g.c_stride + j + at, g.c_stride, count - at, false, &g.finish, row, j + at};
#pragma GCC unroll 16
      for (int r = 0; r < S::kLanes; ++r)
        if (i + r < a.count) finish_row<S, 1>(tile, r, {square[r]});
    }
}

// Columns [j, j + count) of the tail's rows of c, while b's rows are in the cache; `spare` holds them
// once.
template <class S, Type T>
void multiply_tail(const Gemm& whole, const RowsOfA& a, Index j, Index count, float* spare) {
  Gemm g = part_of(whole, a.first + a.count, a.tail, j, count);
  few_rows<S, T>(g, a.tail_rows);
  if (!g.gated()) return;
  const View<float, 2> u{g.c, {a.tail, count}, {g.c_stride, 1}};
  g.b = g.gate;
  g.c = spare, g.c_stride = count;
  few_rows<S, T>(g, a.tail_rows);
  gated_vector<S>({view<const float>(spare, a.tail, count), u, g.unit, u});
}

template <class S, class Tiles, Type T, int NumRows>
void multiply_rows_of_a(const GemmTransposed& block, const RowsOfA& a) {
  const Gemm& g = block.product;
  float *of_b = block.sums, *of_gate = of_b + (block.cut.columns + NumRows) * a.padded;
  for (Index j = 0; j < g.n; j += block.cut.columns) {
    const Index count = min_index(block.cut.columns, g.n - j);
    for (Index at = 0; at < count; at += NumRows) {
      sum_rows_of_b<S, Tiles, T, NumRows>(block, a, g.b, j + at, of_b + at * a.padded);
      if (g.gated())
        sum_rows_of_b<S, Tiles, T, NumRows>(block, a, g.gate, j + at, of_gate + at * a.padded);
    }
    if (g.gated()) {
      const View<float, 2> u{of_b, {count, a.count}, {a.padded, 1}};
      gated_vector<S>({{of_gate, {count, a.count}, {a.padded, 1}}, u, g.unit, u});
    }
    finish_transposed<S>(g, a, of_b, j, count);
    if constexpr (Tiles::kMostTail > 0)
      if (a.tail > 0) multiply_tail<S, T>(g, a, j, count, block.sums);
  }
}

// 4 rows x 3 vectors fill the registers as 6 x 2 do.
template <class S>
struct ThreeVectors : S {
  static constexpr int kRows = 4, kVectors = 3;
};

template <class S, class Tiles, Type T>
void transposed_of(const GemmTransposed& block, const RowsOfA& a) {
  const Index vectors = a.padded / S::kLanes;
  if constexpr (S::kRows == 6)
    if (vectors % 2 == 1 && vectors > 1) {
      using Wide = ThreeVectors<S>;
      pack_rows_of_a<Wide>(block, a);
      return multiply_rows_of_a<Wide, TransposedByVectors<Wide>, T, 4>(block, a);
    }
  pack_rows_of_a<S>(block, a);
  if (vectors == 1)
    multiply_rows_of_a<S, Tiles, T, Tiles::kRowsOfNarrow>(block, a);
  else
    multiply_rows_of_a<S, Tiles, T, S::kRows>(block, a);
}

template <class S, class Tiles>
RowsOfA rows_of_a(const GemmTransposed& block, Index first) {
  const Gemm& g = block.product;
  RowsOfA a{first, min_index(block.cut.rows, g.m - first), 0};
  const Index last = a.count % S::kLanes;
  if (g.m < kGemmWholeRows && last <= Tiles::kMostTail && last < a.count &&
      g.a.rows == Rows::outer) {
    a.count -= last, a.tail = last;
    float* spare = block.a_panels + (a.count + S::kLanes) * steps_of<S>(g.k);
    if constexpr (Tiles::kMostTail > 0)
      rows_of_steps<S>(from_outer(g.a, first + a.count), last, g.k, spare, a.tail_rows);
  }
  a.padded = (a.count + S::kLanes - 1) / S::kLanes * S::kLanes;
  return a;
}

template <class S, class Tiles = TransposedByVectors<S>>
void gemm_transposed(const GemmTransposed& block) {
  const Gemm& g = block.product;
  for (Index i = 0; i < g.m; i += block.cut.rows) {
    const RowsOfA a = rows_of_a<S, Tiles>(block, i);
    switch (g.b.type) {
      case Type::f32:
        transposed_of<S, Tiles, Type::f32>(block, a);
        break;
      case Type::bf16:
        transposed_of<S, Tiles, Type::bf16>(block, a);
        break;
      case Type::f16:
        transposed_of<S, Tiles, Type::f16>(block, a);
        break;
    }
  }
}

}  // namespace
}  // namespace mote::kernels
