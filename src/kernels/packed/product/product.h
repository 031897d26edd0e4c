// Products with stacked packed matrices, decoded on the way and never unpacked.
//
//   product           y[r, o] = sum_i W_e[o, i] x[r, i]    rows r of expert e: ends[e-1] <= r <
//   ends[e] product_to_input  y[r, i] = sum_o W_e[o, i] x[r, o] product_int8      y[r, o] = s_r
//   sum_i W_e[o, i] x8[r, i]
//                     s_r = max_i |x[r, i]| / 127,  x8[r, i] = round(x[r, i] / s_r), 0 where s_r is
//                     0
//
// Coders of blocks (Coder::blocks) have an s_r for each group of 32 columns.
//
// x and y are float32, rows sorted by expert; ends [E] do not fall and the last is R. An expert
// without rows costs nothing. W must have passed validate(). A row of x with a number that is not
// finite gives a row of NaN. Last strides are 1; y overlaps nothing.
//
// A row of y is the same bits whatever other rows are in the call, for any number of threads.
//
// product_int8 is a named choice, never a default. Rounding is half to even, and sums are whole
// numbers and exact, so what differs between variants is a few roundings at the end. Against the
// product each y is off by at most s_r / 2 * sum_i |W[o, i]|; for normal x of width 2080 that is
// about 0.5 % of |y|. At most kMostInt8Columns columns.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/packed/packed_matrices.h"

namespace mote::kernels {

// Sums in 32 bits hold 127 * 64 * 3 times a quarter of the columns.
constexpr Index kMostInt8Columns = Index{1} << 18;

struct PackedProduct {
  PackedMatrices w;
  View<const float, 2> x;  // [R, I]; to input [R, O]
  View<const std::int32_t, 1> ends_E;
  View<float, 2> y;  // [R, O]; to input [R, I]
};
void packed_product(const PackedProduct& args, const Run& run);
void packed_product_int8(const PackedProduct& args, const Run& run);
void packed_product_to_input(const PackedProduct& args, const Run& run);

}  // namespace mote::kernels
