// The q16 product with 8-bit activations: a named choice, never a default.
//
//   s_r = max_i |x[r, i]| / 127,   x8[r, i] = round(x[r, i] / s_r)  (half to even; 0 where s_r is
//   0) y[r, o] = s_r * (max_o * S+ + min_o * S-),   S+, S- whole-number sums of x8 over row o's
//   weights
//
// Shapes, sorting and finite x as in packed/q16_product. Sums are exact, so results do not depend
// on the order, the batch or the threads. Against the product with float32 activations each y is
// off by at most s_r / 2 * sum_i |W[o, i]|; for normal x of width 2080 that is about 0.5 % of |y|.
#pragma once

#include <span>

#include "kernels/core/variants.h"
#include "kernels/packed/q16/q16.h"

namespace mote::kernels {

struct Q16ProductA8 {
  Q16Experts w;
  View<const float, 2> x_RI;
  View<const std::int32_t, 1> ends_E;
  View<float, 2> y_RO;
  View<std::byte, 1> scratch;  // q16_a8_scratch(R, I) bytes
};
void q16_product_a8(const Q16ProductA8& args, const Run& run);
std::span<const Variant<Q16ProductA8>> q16_product_a8_variants();

// Room for x8 laid out, up to 32 bytes per entry, a scale per row, and what aligns them.
constexpr Index q16_a8_scratch(Index rows, Index columns) {
  return rows * (32 * columns + 68) + 64;
}

}  // namespace mote::kernels
