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

// Columns of the next panel of b when so many are left: full panels, but no single vector behind a
// panel of three where two and two do.
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

// One step of a panel: `width` outer elements from `outer` on, of which `left` exist, of the stored
// rows `even` and, in pairs, `odd` (null behind the last), times their scales if there are any.
template <class S, Type T, bool kScaled, bool kWhole>
[[gnu::always_inline]] inline void pack_step(const char* const* rows, const float* const* scales,
                                             Index outer, Index left, Index width, float* to) {
  using V = typename S::V;
  const auto value = [&](int i, Index v) -> V {
    if (!kWhole && v >= left) return S::zero();
    const V x = kWhole ? load_stored<S, T>(rows[i], outer + v)
                       : load_some<S, T>(rows[i], outer + v, left - v);
    return kScaled ? as_multiplied<S, Type::f32>(S::mul(x, S::broadcast(scales[i])))
                   : as_multiplied<S, T>(x);
  };
  for (Index v = 0; v < width; v += S::kLanes)
    S::store(to + v, S::step(value(0, v), S::kPerStep == 2 && rows[1] ? value(1, v) : S::zero()));
}

// `count` outer elements along the stored rows into panels of `width(left)` with `gap` floats between
// them, a few stored rows at a time, so that both sides are read and written in runs. Vectors are
// written whole; what a panel narrower than one gets too much belongs to its next step, or to the
// gap.
template <class S, Type T, bool kScaled, class Width>
[[gnu::always_inline]] inline void pack_along(const Operand& x, Index outer, Index count,
                                              Index first, Index depth, float* out, Width width,
                                              Index gap) {
  constexpr Index kRun = 8 * S::kPerStep;
  const Index steps = steps_of<S>(depth);
  for (Index k = 0; k < depth; k += kRun) {
    const char* rows[kRun];
    const float* scales[kRun];
    for (Index i = 0; i < kRun; ++i) {
      rows[i] = k + i < depth ? stored_row(x, first + k + i) : nullptr;
      scales[i] = kScaled && rows[i] ? x.scale + first + k + i : nullptr;
    }
    const Index end = min_index(kRun, depth - k);
    float* panel = out;
    for (Index j = 0, w; j < count; j += w, panel += w * steps + gap) {
      w = width(count - j);
      float* to = panel + k / S::kPerStep * w;
      const Index left = count - j;
      if (left >= w && left >= S::kLanes)
        for (Index i = 0; i < end; i += S::kPerStep, to += w)
          pack_step<S, T, kScaled, true>(rows + i, scales + i, outer + j, left, w, to);
      else
        for (Index i = 0; i < end; i += S::kPerStep, to += w)
          pack_step<S, T, kScaled, false>(rows + i, scales + i, outer + j, left, w, to);
    }
  }
}
template <class S, Type T, class Width>
[[gnu::always_inline]] inline void pack_along(const Operand& x, Index outer, Index count,
                                              Index first, Index depth, float* out, Width width,
                                              Index gap) {
  if (x.scale)
    pack_along<S, T, true>(x, outer, count, first, depth, out, width, gap);
  else
    pack_along<S, T, false>(x, outer, count, first, depth, out, width, gap);
}

}  // namespace
}  // namespace mote::kernels
