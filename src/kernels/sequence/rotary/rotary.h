// Rotary positions (arXiv 2104.09864): pairs of a head's first R columns turned by an angle that
// grows with the position; the other columns stay.
//
//   y_a = x_a cos - x_b sin,  y_b = x_b cos + x_a sin,  cos, sin = cos_PM(p, m), sin_PM(p, m)
//   m < R / 2; halves: a = m, b = m + R / 2; adjacent: a = 2m, b = 2m + 1
//
// p = position_BT(b, t), a row of the tables. `back` turns the other way, which is the gradient:
// dx from dy. The tables hold what a model's scaling of frequencies and of lengths makes of them.
//
// Aliasing: y may be x. The last strides are 1.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

enum class RotaryPairs { halves, adjacent };

struct Rotary {
  View<const float, 4> x_BTHC;
  View<const std::int32_t, 2> position_BT;  // stride 0 over b: alike in all sequences
  View<const float, 2> cos_PM, sin_PM;      // M = R / 2
  RotaryPairs pairs = RotaryPairs::halves;
  bool back = false;
  View<float, 4> y_BTHC;  // out
};
void rotary(const Rotary& args, const Run& run);
std::span<const Variant<Rotary>> rotary_variants();

// The first head of a token.
template <class T>
[[gnu::always_inline]] inline T* rotary_row(const View<T, 4>& x_BTHC, Index b, Index t) {
  return x_BTHC.data + b * x_BTHC.stride(0) + t * x_BTHC.stride(1);
}
void rotary_avx2(const Rotary& args, const Run& run);
void rotary_avx512(const Rotary& args, const Run& run);

}  // namespace mote::kernels
