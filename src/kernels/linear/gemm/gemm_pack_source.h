// Panels of b from a PanelSource, 16 of its rows at a time; for the variant files only.
#pragma once

#include "kernels/linear/gemm/gemm_pack.h"

namespace mote::kernels {
namespace {

// W's rows are columns of c. Float32 panels are filled in place, others (and a last one that is
// narrower than what a source writes) by way of `spare`.
template <class S>
void pack_source_across(const Operand& x, Index outer, Index count, Index first, Index depth,
                        float* out, float* spare) {
  const Index steps = steps_of<S>(depth);
  for (Index j = 0, w; j < count; j += w) {
    w = panel_width<S>(count - j);
    float* panel = out + j * steps;
    for (Index v = 0; v < w; v += kPanelRows) {
      const Index row = x.first + outer + j + v;
      if (S::kPerStep == 1 && !S::kRounds && w >= kPanelRows) {
        x.source.fill(x.source.storage, {row, first, depth, panel + v, w});
        continue;
      }
      x.source.fill(x.source.storage, {row, first, depth, spare, kPanelRows});
      for (Index s = 0; s * S::kPerStep < depth; ++s)
        for (Index lane = 0; lane < min_index(kPanelRows, w - v); lane += S::kLanes) {
          const float* from = spare + s * S::kPerStep * kPanelRows + lane;
          const bool pair = S::kPerStep == 2 && 2 * s + 1 < depth;
          S::store(panel + s * w + v + lane,
                   S::step(as_multiplied<S, Type::f32>(S::load(from)),
                           pair ? S::load(from + kPanelRows) : S::zero()));
        }
    }
  }
}

// W's columns are columns of c: squares are transposed.
template <class S>
void pack_source_along(const Operand& x, Index outer, Index count, Index first, Index depth,
                       float* out, float* spare) {
  using V = typename S::V;
  const Index steps = steps_of<S>(depth);
  for (Index k = 0; k < depth; k += S::kLanes) {
    if (k % kPanelRows == 0)
      x.source.fill(x.source.storage, {first + k, x.first + outer, count, spare, kPanelRows});
    const Index part = k % kPanelRows, rows = min_index(S::kLanes, depth - k);
    for (Index j = 0, w; j < count; j += w) {
      w = panel_width<S>(count - j);
      for (Index v = 0; v < w; v += S::kLanes) {
        V block[S::kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < S::kLanes; ++i)
          block[i] =
              j + v + i < count ? S::load(spare + (j + v + i) * kPanelRows + part) : S::zero();
        S::transpose(block);
        float* to = out + j * steps + k / S::kPerStep * w + v;
#pragma GCC unroll 16
        for (int i = 0; i < S::kLanes; i += S::kPerStep, to += w)
          if (i < rows)
            S::store(to, S::step(as_multiplied<S, Type::f32>(block[i]),
                                 S::kPerStep == 2 && i + 1 < rows ? block[i + S::kPerStep - 1]
                                                                  : S::zero()));
      }
    }
  }
}

}  // namespace
}  // namespace mote::kernels
