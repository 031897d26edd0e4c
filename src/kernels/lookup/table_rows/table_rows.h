// Products with few rows of a large table, picked by number: what lookup layers (product-key
// memories, PEER) do instead of products with matrices (specs/peer.md 4.1). Nothing of the size
// pairs * columns is ever written.
//
//   row_dots   dots[p]  = <W[index[p]], x[n]>                        n the output that pair p is of
//   row_sums   y[n]     = [y[n] +] sum_p weight[p] W[index[p]]       over the pairs p of output n
//
// Pairs lie by output: output n has `per_output` of them, or those from first[n] to first[n + 1]. Each
// is the other's gradient: <row_dots(W, x), w> = <x, row_sums(W, w)>, and with W and x in each
// other's place row_sums makes the gradient of W. A table is float32 or bfloat16, its rows have unit
// stride; sums are float32 and in the order of the pairs (a dot's in lanes), so results have the same
// bits for any number of threads. Outputs without pairs are 0, or what they held. Indices are the
// caller's to check: row_dots and row_sums only read them.
#pragma once

#include "kernels/core/dtype.h"
#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct Table {
  const void* data = nullptr;
  Index rows = 0, columns = 0, stride = 0;  // stride in elements
  Type type = Type::f32;                    // or bf16
};
[[gnu::always_inline]] inline Table table_of(View<const float, 2> values) {
  return {values.data, values.size(0), values.size(1), values.stride(0)};
}

struct RowDots {
  Table table;
  const std::int32_t* index = nullptr;  // [N * per_output]
  Index per_output = 0;
  View<const float, 2> x_ND;
  float* dots = nullptr;  // out, as index
};
void row_dots(const RowDots& args, const Run& run);
std::span<const Variant<RowDots>> row_dots_variants();
void row_dots_avx2(const RowDots& args, const Run& run);
void row_dots_avx512(const RowDots& args, const Run& run);

struct RowSums {
  Table table;
  const std::int32_t* index = nullptr;
  Index per_output = 0;
  const std::int32_t* first = nullptr;  // [N + 1]; null: per_output pairs each
  const float* weight = nullptr;        // as index; null: ones
  View<float, 2> y_ND;
  bool add = false;

  [[gnu::always_inline]] Index begin(Index n) const { return first ? first[n] : n * per_output; }
};
void row_sums(const RowSums& args, const Run& run);
std::span<const Variant<RowSums>> row_sums_variants();
void row_sums_avx2(const RowSums& args, const Run& run);
void row_sums_avx512(const RowSums& args, const Run& run);

}  // namespace mote::kernels
