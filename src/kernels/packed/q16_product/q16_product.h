// Products with stacked q16 matrices (packed/q16), decoded on the way and never unpacked.
//
//   forward     y[r, o] = sum_i W_e[o, i] x[r, i]     rows r of expert e: ends[e-1] <= r < ends[e]
//   to input   dx[r, i] = sum_o W_e[o, i] dy[r, o]
//
// x [R, I] and y [R, O] are float32, sorted by expert; ends [E] are non-decreasing and the last is
// R. An expert without rows costs nothing. W must have passed validate(); x must be finite (a
// weight of 0 times infinity may be NaN). Last strides are 1; outputs overlap nothing.
//
// With S+ and S- the sums of x where a weight is the row's maximum or minimum, y = max S+ + min S-:
// additions, and two multiplications per row. Each sum is three chains, one per slot of a
// codeword, in the order of the codewords, so a row of y is the same bits whatever other rows are
// in the call, for any number of threads, and in every vector variant.
#pragma once

#include <span>

#include "kernels/core/variants.h"
#include "kernels/packed/q16/q16.h"

namespace mote::kernels {

struct Q16Product {
  Q16Experts w;
  View<const float, 2> x_RI;
  View<const std::int32_t, 1> ends_E;
  View<float, 2> y_RO;
  View<float, 1> scratch;  // q16_scratch(R, I) floats
};
void q16_product(const Q16Product& args, const Run& run);
std::span<const Variant<Q16Product>> q16_product_variants();

struct Q16ProductToInput {
  Q16Experts w;
  View<const float, 2> dy_RO;
  View<const std::int32_t, 1> ends_E;
  View<float, 2> dx_RI;
  View<float, 1> scratch;  // q16_scratch(R, I) floats
};
// Sums run over o in order, in one chain per entry of dx.
void q16_product_to_input(const Q16ProductToInput& args, const Run& run);
std::span<const Variant<Q16ProductToInput>> q16_product_to_input_variants();

// Room for x laid out for the products: up to four floats per entry, and what aligns each chunk of
// rows to 64 bytes. Only what is used is touched.
constexpr Index q16_scratch(Index rows, Index columns) {
  return rows * (4 * columns + 16) + 16;
}

}  // namespace mote::kernels
