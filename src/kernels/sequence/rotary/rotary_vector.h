// The turns for any vector type of core/simd.h; included by the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/sequence/rotary/rotary.h"

namespace mote::kernels {
namespace {

template <class S>
void turn_halves(const float* x, const float* cos, const float* sin, float sign, Index pairs,
                 float* y) {
  using V = typename S::V;
  const V direction = S::set(sign), other = S::set(-sign);
  for_vectors<S>(0, pairs, [&](Index m, auto lanes) {
    const V a = lanes.load(x + m), b = lanes.load(x + pairs + m), c = lanes.load(cos + m),
            s = lanes.load(sin + m);
    lanes.store(y + m, S::fma(S::mul(b, other), s, S::mul(a, c)));
    lanes.store(y + pairs + m, S::fma(S::mul(a, direction), s, S::mul(b, c)));
  });
}

// The compiler makes vectors of it: a pair is two neighbours.
[[gnu::always_inline]] inline void turn_adjacent(const float* x, const float* cos, const float* sin,
                                                 float sign, Index pairs, float* y) {
  for (Index m = 0; m < pairs; ++m) {
    const float a = x[2 * m], b = x[2 * m + 1], s = sign * sin[m];
    y[2 * m] = a * cos[m] - b * s;
    y[2 * m + 1] = b * cos[m] + a * s;
  }
}

template <class S>
void rotary_vector(const Rotary& args) {
  const Index width = args.x_BTHC.size(3), pairs = args.cos_PM.size(1);
  const float sign = args.back ? -1 : 1;
  for (Index b = 0; b < args.x_BTHC.size(0); ++b)
    for (Index t = 0; t < args.x_BTHC.size(1); ++t) {
      const Index p = args.position_BT(b, t);
      const float *cos = args.cos_PM.row(p), *sin = args.sin_PM.row(p);
      const float* x = rotary_row(args.x_BTHC, b, t);
      float* y = rotary_row(args.y_BTHC, b, t);
      for (Index h = 0; h < args.x_BTHC.size(2);
           ++h, x += args.x_BTHC.stride(2), y += args.y_BTHC.stride(2)) {
        if (args.pairs == RotaryPairs::halves)
          turn_halves<S>(x, cos, sin, sign, pairs, y);
        else
          turn_adjacent(x, cos, sin, sign, pairs, y);
        if (x == y) continue;
        for_vectors<S>(2 * pairs, width,
                       [&](Index c, auto lanes) { lanes.store(y + c, lanes.load(x + c)); });
      }
    }
}

}  // namespace
}  // namespace mote::kernels
