// Few rows times a matrix, which is read once where it lies; for the variant files only.
//
// Both operands have k along their stored rows; each c is a dot product whose lanes are summed at
// the end.
#pragma once

#include "kernels/linear/gemm/gemm_finish.h"

namespace mote::kernels {
namespace {

template <class S, Type T, int NumRows, int Columns>
[[gnu::always_inline]] inline void dots(const Gemm& g, const float* const* rows, Index i, Index j) {
  using V = typename S::V;
  const char* b[Columns];
  V sum[NumRows][Columns];
#pragma GCC unroll 8
  for (int c = 0; c < Columns; ++c) b[c] = stored_row(g.b, j + c);
#pragma GCC unroll 4
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) sum[r][c] = S::zero();
  Index k = 0;
  for (; k + S::kLanes <= g.k; k += S::kLanes) {
    V a[NumRows];
#pragma GCC unroll 4
    for (int r = 0; r < NumRows; ++r) a[r] = S::load(rows[i + r] + k);
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) {
      const V column = as_multiplied<S, T>(load_stored<S, T>(b[c], k));
#pragma GCC unroll 4
      for (int r = 0; r < NumRows; ++r) sum[r][c] = S::fma(a[r], column, sum[r][c]);
    }
  }
  if (k < g.k) {
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) {
      const V column = as_multiplied<S, T>(load_stored<S, T>(b[c], k, g.k - k));
#pragma GCC unroll 4
      for (int r = 0; r < NumRows; ++r)
        sum[r][c] = S::fma(S::load(rows[i + r] + k, g.k - k), column, sum[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < NumRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) finish_element(g, i + r, j + c, S::sum(sum[r][c]));
}

template <class S, Type T, int Columns>
[[gnu::always_inline]] inline void columns_of_all_rows(const Gemm& g, const float* const* rows,
                                                       Index j) {
  Index i = 0;
  for (; i + 2 <= g.m; i += 2) dots<S, T, 2, Columns>(g, rows, i, j);
  if (i < g.m) dots<S, T, 1, Columns>(g, rows, i, j);
}

template <class S, Type T>
void few_rows(const Gemm& g, const float* const* rows) {
  Index j = 0;
  for (; j + 4 <= g.n; j += 4) columns_of_all_rows<S, T, 4>(g, rows, j);
  for (; j < g.n; ++j) columns_of_all_rows<S, T, 1>(g, rows, j);
}

// Rows of a as the products read them: where they lie, or converted or rounded into `to`.
template <class S, Type T>
void float_rows(const Operand& a, Index count, Index k, float* to, const float** rows) {
  for (Index i = 0; i < count; ++i) {
    const char* row = stored_row(a, i);
    rows[i] = reinterpret_cast<const float*>(row);
    if (T == Type::f32 && !S::kRounds) continue;
    rows[i] = to;
    for (Index at = 0; at < k; at += S::kLanes, to += S::kLanes)
      S::store(to, as_multiplied<S, T>(load_some<S, T>(row, at, k - at)));
  }
}

template <class S>
void gemm_few_rows(const Gemm& g, float* a_rows) {
  const float* rows[kFewRows];
  if (g.a.type == Type::f32) float_rows<S, Type::f32>(g.a, g.m, g.k, a_rows, rows);
  if (g.a.type == Type::bf16) float_rows<S, Type::bf16>(g.a, g.m, g.k, a_rows, rows);
  if (g.a.type == Type::f16) float_rows<S, Type::f16>(g.a, g.m, g.k, a_rows, rows);
  if (g.b.type == Type::f32) few_rows<S, Type::f32>(g, rows);
  if (g.b.type == Type::bf16) few_rows<S, Type::bf16>(g, rows);
  if (g.b.type == Type::f16) few_rows<S, Type::f16>(g, rows);
}

}  // namespace
}  // namespace mote::kernels
