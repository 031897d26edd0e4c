// Products with stacked two-bit matrices (packed/two_bit), decoded on the way.
//
//   forward     y[r, o] = sum_i W_e[o, i] x[r, i]     rows r of expert e: ends[e-1] <= r < ends[e]
//   to input   dx[r, i] = sum_o W_e[o, i] dy[r, o]
//
// Shapes, sorting and finite inputs as in packed/q16_product; no scratch is needed. W must have
// passed validate(). A result is the same bits whatever other rows are in the call and for any
// number of threads: forward sums run over i in one chain per lane, to input over o in one chain.
#pragma once

#include <span>

#include "kernels/core/variants.h"
#include "kernels/packed/two_bit/two_bit.h"

namespace mote::kernels {

struct TwoBitProduct {
  TwoBitExperts w;
  View<const float, 2> x_RI;
  View<const std::int32_t, 1> ends_E;
  View<float, 2> y_RO;
};
void two_bit_product(const TwoBitProduct& args, const Run& run);
std::span<const Variant<TwoBitProduct>> two_bit_product_variants();

struct TwoBitProductToInput {
  TwoBitExperts w;
  View<const float, 2> dy_RO;
  View<const std::int32_t, 1> ends_E;
  View<float, 2> dx_RI;
};
void two_bit_product_to_input(const TwoBitProductToInput& args, const Run& run);
std::span<const Variant<TwoBitProductToInput>> two_bit_product_to_input_variants();

}  // namespace mote::kernels
