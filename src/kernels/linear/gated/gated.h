// The hidden units of a feed-forward layer, gated or not.
//
//   h = act(g) (u + up_offset), or act(g) where there is no u
//   identity   x
//   relu       max(x, 0)
//   silu       x / (1 + exp(-alpha x)); alpha = 1 but in gpt-oss
//   gelu       x (1 + erf(x / sqrt(2))) / 2
//   gelu_tanh  x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
// With a limit, g is min(g, limit) and u is clamped to +-limit before that.
//
// Backward, from dh: dg = dh (u + up_offset) act'(g), du = dh act(g); 0 where the limit cut.
//
// Rows have unit column stride. h may be g or u; dg may be g or dh, du may be u or dh. NaN stays.
#pragma once

#include <limits>

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

enum class UnitKind { identity, relu, silu, gelu, gelu_tanh };

struct Unit {
  UnitKind kind = UnitKind::silu;
  float alpha = 1;      // of silu
  float up_offset = 0;  // gpt-oss: 1
  float limit = std::numeric_limits<float>::infinity();
};

struct Gated {
  View<const float, 2> g_ND, u_ND;  // u.data null: none
  Unit unit;
  View<float, 2> h_ND;  // out
};
void gated(const Gated& args, const Run& run);
std::span<const Variant<Gated>> gated_variants();
void gated_avx2(const Gated& args, const Run& run);
void gated_avx512(const Gated& args, const Run& run);

struct GatedBackward {
  View<const float, 2> g_ND, u_ND, dh_ND;
  Unit unit;
  View<float, 2> dg_ND, du_ND;  // out; du only with u
};
void gated_backward(const GatedBackward& args, const Run& run);
std::span<const Variant<GatedBackward>> gated_backward_variants();
void gated_backward_avx2(const GatedBackward& args, const Run& run);
void gated_backward_avx512(const GatedBackward& args, const Run& run);

}  // namespace mote::kernels
