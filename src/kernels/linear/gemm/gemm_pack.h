// Operands laid out for the micro-kernel, for any vector type; for the variant files only.
//
// A step is S::kPerStep neighbouring k: one float32, or two bfloat16 in 32 bits. A panel holds
// `width` outer elements, step after step ([step][width]); of b, `width` is one to S::kVectors
// vectors, of a it is S::kRows. Elements beyond the last are 0, as is the second half of an odd
// last step. Panels have a multiple of S::kStepUnit steps.
#pragma once

#include "kernels/linear/gemm/gemm_values.h"

namespace mote::kernels {
namespace {

// Steps of a panel.
template <class S>
[[gnu::always_inline]] inline Index steps_of(Index depth) {
  constexpr Index kUnit = S::kPerStep * S::kStepUnit;
  return (depth + kUnit - 1) / kUnit * S::kStepUnit;
}

// Those that stand behind the last k are 0.
template <class S>
void clear_spare_steps(Index width, Index depth, float* panel) {
  const Index filled = (depth + S::kPerStep - 1) / S::kPerStep;
  for (Index at = filled * width; at < steps_of<S>(depth) * width; at += S::kLanes)
    S::store(panel + at, S::zero());
}

// Floats across the next panel of b when so many columns are left: full panels, but no single
// vector behind a panel of three where two and two do.
template <class S>
[[gnu::always_inline]] inline Index panel_width(Index left) {
  const Index vectors = (left + S::kLanes - 1) / S::kLanes;
  if (vectors == S::kVectors + 1 && S::kVectors > 2) return 2 * S::kLanes;
  return min_index(vectors, S::kVectors) * S::kLanes;
}

// One vector of outer elements of which `width` exist, k along the stored rows: by transposing
// squares. Writes [step][out_stride] from `out`.
template <class S, Type T>
void pack_across(const Operand& x, Index outer, Index width, Index first, Index depth, float* out,
                 Index out_stride) {
  constexpr Index kSquare = S::kLanes * S::kPerStep;  // in k
  const char* rows[S::kLanes];
  for (Index i = 0; i < S::kLanes; ++i) rows[i] = stored_row(x, outer + (i < width ? i : 0));
  for (Index k = 0; k < depth; k += kSquare) {
    const Index left = depth - k;
    typename S::V block[S::kLanes];
    if (width == S::kLanes && left >= kSquare) {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; ++i) block[i] = load_steps<S, T>(rows[i], first + k, kSquare);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; ++i)
        block[i] = i < width ? load_steps<S, T>(rows[i], first + k, left) : S::zero();
    }
    S::transpose(block);
    if (left >= kSquare) {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; ++i, out += out_stride) S::store(out, block[i]);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < S::kLanes; ++i, out += out_stride)
        if (i * S::kPerStep < left) S::store(out, block[i]);
    }
  }
}

// `count` outer elements along the stored rows: row by row into panels of `width(left)` with `gap`
// floats between them. Vectors are written whole; what a panel narrower than one gets too much
// belongs to its next step, or to the gap.
template <class S, Type T, class Width>
[[gnu::always_inline]] inline void pack_along(const Operand& x, Index outer, Index count,
                                              Index first, Index depth, float* out, Width width,
                                              Index gap) {
  using V = typename S::V;
  const Index steps = steps_of<S>(depth);
  for (Index s = 0; s * S::kPerStep < depth; ++s) {
    const Index k = first + s * S::kPerStep;
    const bool pair = S::kPerStep == 2 && k + 1 < first + depth;
    const char* even = stored_row(x, k);
    const char* odd = pair ? stored_row(x, k + 1) : nullptr;
    const V even_scale = S::set(x.scale ? x.scale[k] : 1);
    const V odd_scale = S::set(x.scale && pair ? x.scale[k + 1] : 1);
    const auto value = [&](const char* row, Index at, const V& scale) {
      const V v = load_some<S, T>(row, outer + at, count - at);
      return x.scale ? as_multiplied<S, Type::f32>(S::mul(v, scale)) : as_multiplied<S, T>(v);
    };
    float* panel = out;
    for (Index j = 0, w; j < count; j += w, panel += w * steps + gap) {
      w = width(count - j);
      float* to = panel + s * w;
      for (Index v = 0; v < w; v += S::kLanes)
        S::store(to + v, S::step(j + v < count ? value(even, j + v, even_scale) : S::zero(),
                                 pair && j + v < count ? value(odd, j + v, odd_scale) : S::zero()));
    }
  }
}

}  // namespace
}  // namespace mote::kernels
