// Few rows times a matrix, which is read once where it lies; for the variant files only.
//
// Both operands have k along their stored rows; each c is a dot product whose lanes are summed at
// the end.
#pragma once

#include "kernels/linear/gemm/gemm_block_of_a.h"
#include "kernels/linear/gemm/gemm_finish.h"

namespace mote::kernels {
namespace {

template <class S, Type T, int NumRows, int Columns>
[[gnu::always_inline]] inline void dots(const Gemm& g, const float* const* rows, Index i, Index j) {
  using V = typename S::V;
  constexpr Index kStep = S::kLanes * S::kPerStep;  // in k
  const char* b[Columns];
  V sum[NumRows][Columns];
#pragma GCC unroll 8
  for (int c = 0; c < Columns; ++c) b[c] = stored_row(g.b, j + c);
  // What the next columns read is asked for while these are summed, a line at a time: rows of b come
  // from memory.
  const Index next = stored_row(g.b, min_index(j + 2 * Columns, g.n) - Columns) - b[0];
#pragma GCC unroll 4
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) sum[r][c] = S::zero();
  const auto add = [&](Index k, Index left) __attribute__((always_inline)) {
    V a[NumRows];
#pragma GCC unroll 4
    for (int r = 0; r < NumRows; ++r) {
      const float* from = rows[i + r] + k / S::kPerStep;
      // Pairs are copies, which have 0 behind the last.
      a[r] = left >= kStep || S::kPerStep == 2 ? S::load(from) : S::load(from, left);
    }
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) {
      const V column = load_steps<S, T>(b[c], k, left);
#pragma GCC unroll 4
      for (int r = 0; r < NumRows; ++r) sum[r][c] = S::multiply_add(a[r], column, sum[r][c]);
    }
  };
  constexpr Index kLine = 64 / size_of(T) > kStep ? 64 / size_of(T) : kStep;
  Index k = 0;
  for (; k + kLine <= g.k; k += kLine) {
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) __builtin_prefetch(b[c] + next + k * size_of(T), 0, 3);
#pragma GCC unroll 4
    for (Index at = k; at < k + kLine; at += kStep) add(at, kStep);
  }
  for (; k + kStep <= g.k; k += kStep) add(k, kStep);
  if (k < g.k) add(k, g.k - k);
#pragma GCC unroll 4
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) finish_element(g, i + r, j + c, S::sum(sum[r][c]));
}

template <class S, Type T, int Columns>
[[gnu::always_inline]] inline void columns_of_all_rows(const Gemm& g, const float* const* rows,
                                                       Index j) {
  Index i = 0;
  if constexpr (S::kLanes == 16)  // registers for 16 sums
    for (; i + 4 <= g.m; i += 4) dots<S, T, 4, Columns>(g, rows, i, j);
  for (; i + 2 <= g.m; i += 2) dots<S, T, 2, Columns>(g, rows, i, j);
  if (i < g.m) dots<S, T, 1, Columns>(g, rows, i, j);
}

template <class S, Type T>
void few_rows(const Gemm& g, const float* const* rows) {
  Index j = 0;
  for (; j + 4 <= g.n; j += 4) columns_of_all_rows<S, T, 4>(g, rows, j);
  for (; j < g.n; ++j) columns_of_all_rows<S, T, 1>(g, rows, j);
}

// Rows of a as the products read them: where they lie, or converted, rounded, in pairs or apart in the
// cache into `to`.
template <class S, Type T>
void rows_of_steps(const Operand& a, Index count, Index k, float* to, const float** rows) {
  for (Index i = 0; i < count; ++i) {
    const char* row = stored_row(a, i);
    rows[i] = reinterpret_cast<const float*>(row);
    if (T == Type::f32 && !S::kRounds && S::kPerStep == 1 && !meet_in_cache(a)) continue;
    rows[i] = to;
    for (Index at = 0; at < k; at += S::kLanes * S::kPerStep, to += S::kLanes)
      S::store(to, load_steps<S, T>(row, at, k - at));
    to += 16;
  }
}

template <class S>
void rows_of_steps(const Operand& a, Index count, Index k, float* to, const float** rows) {
  if (a.type == Type::f32) rows_of_steps<S, Type::f32>(a, count, k, to, rows);
  if (a.type == Type::bf16) rows_of_steps<S, Type::bf16>(a, count, k, to, rows);
  if (a.type == Type::f16) rows_of_steps<S, Type::f16>(a, count, k, to, rows);
}

template <class S>
void gemm_few_rows(const Gemm& g, float* a_rows) {
  const float* rows[kFewRowsOfHalves];
  rows_of_steps<S>(g.a, g.m, g.k, a_rows, rows);
  if (g.b.type == Type::f32) few_rows<S, Type::f32>(g, rows);
  if (g.b.type == Type::bf16) few_rows<S, Type::bf16>(g, rows);
  if (g.b.type == Type::f16) few_rows<S, Type::f16>(g, rows);
}

}  // namespace
}  // namespace mote::kernels
