// The blocked product, written once for any S: a vector type of core/simd.h with
//   kRows, kVectors      the micro-kernel's tile
//   kPerStep             neighbouring k in 32 bits: 1 (float32) or 2 (bfloat16)
//   kStepUnit            panels have a multiple of so many steps; above 1, a is copied by rows
//   kRounds              whether operands are rounded to bfloat16 and multiplied in float32
//   step                 a step from its one or two k; with two, pairs_along and load_pairs as well
//   multiply_add         unless `multiply` is another than the micro-kernel for vectors
// Included by the variant files only, after <utility>.
#pragma once

#include "kernels/linear/gemm/gemm_micro.h"
#include "kernels/linear/gemm/gemm_pack_source.h"

namespace mote::kernels {
namespace {

template <class S, Type T>
void pack_b_of(const Operand& b, Index j0, Index columns, Index k0, Index depth, float* out) {
  if (b.rows == Rows::inner) {
    pack_along<S, T>(
        b, j0, columns, k0, depth, out, [](Index left) { return panel_width<S>(left); }, 0);
    return;
  }
  const Index steps = steps_of<S>(depth);
  for (Index j = 0, w; j < columns; j += w) {
    w = panel_width<S>(columns - j);
    for (Index v = 0; v < w; v += S::kLanes)
      pack_across<S, T>(b, j0 + j + v, min_index(S::kLanes, columns - j - v), k0, depth,
                        out + j * steps + v, w);
  }
}

template <class S>
void fill_b(const Operand& b, Index j0, Index columns, Index k0, Index depth, float* out) {
  if (b.source.fill) {
    float* spare = out + (columns + S::kVectors * S::kLanes) * steps_of<S>(depth);
    if (b.rows == Rows::outer)
      pack_source_across<S>(b, j0, columns, k0, depth, out, spare);
    else
      pack_source_along<S>(b, j0, columns, k0, depth, out, spare);
    return;
  }
  switch (b.type) {
    case Type::f32:
      return pack_b_of<S, Type::f32>(b, j0, columns, k0, depth, out);
    case Type::bf16:
      return pack_b_of<S, Type::bf16>(b, j0, columns, k0, depth, out);
    case Type::f16:
      return pack_b_of<S, Type::f16>(b, j0, columns, k0, depth, out);
  }
}

// Panels of columns [j0, j0 + columns) and k [k0, k0 + depth), one behind the other.
template <class S>
void pack_b(const Operand& b, Index j0, Index columns, Index k0, Index depth, float* out) {
  fill_b<S>(b, j0, columns, k0, depth, out);
  if constexpr (S::kStepUnit > 1)
    for (Index j = 0, w; j < columns; j += w) {
      w = panel_width<S>(columns - j);
      clear_spare_steps<S>(w, depth, out + j * steps_of<S>(depth));
    }
}

template <class S>
void pack_all_b(const GemmBlock& block) {
  const Gemm& g = block.product;
  const GemmBlocking& cut = block.cut;
  float* panels = block.b_panels;
  for (Index j0 = 0; j0 < g.n; j0 += cut.columns)
    for (Index k0 = 0; k0 < g.k; k0 += cut.depth, panels += gemm_b_floats(cut))
      pack_b<S>(g.b, j0, min_index(cut.columns, g.n - j0), k0, min_index(cut.depth, g.k - k0),
                panels);
}

template <class S, auto multiply = multiply_tile<S>>
void gemm_blocked(const GemmBlock& block) {
  const Gemm& g = block.product;
  const GemmBlocking& cut = block.cut;
  const float* packed = g.b.panels;
  for (Index j0 = 0; j0 < g.n; j0 += cut.columns) {
    const Index columns = min_index(cut.columns, g.n - j0);
    for (Index k0 = 0; k0 == 0 || k0 < g.k; k0 += cut.depth) {
      const Index depth = min_index(cut.depth, g.k - k0), steps = steps_of<S>(depth);
      const bool last = k0 + cut.depth >= g.k;
      const bool panel_stays = stays_in_l1(steps * S::kVectors * S::kLanes);
      const float* panels = packed ? packed : block.b_panels;
      if (packed)
        packed += gemm_b_floats(cut);
      else
        pack_b<S>(g.b, j0, columns, k0, depth, block.b_panels);
      for (Index i0 = 0; i0 < g.m; i0 += cut.rows) {
        const Index rows = min_index(cut.rows, g.m - i0);
        const BlockOfA a = block_of_a<S>(g.a, i0, rows, k0, depth, block.a_panels);
        const Index group = panel_stays ? rows : Index{S::kRows};
        for (Index first = 0; first < rows; first += group)
          for (Index j = 0, w; j < columns; j += w) {
            w = panel_width<S>(columns - j);
            for (Index i = first; i < min_index(first + group, rows); i += S::kRows) {
              const Tile tile{g.c + (i0 + i) * g.c_stride + j0 + j,
                              g.c_stride,
                              columns - j,
                              g.finish.accumulate || k0 > 0,
                              last ? &g.finish : nullptr,
                              i0 + i,
                              j0 + j};
              multiply(a, i / S::kRows, min_index(S::kRows, rows - i), steps, panels + j * steps,
                       w / S::kLanes, tile);
            }
          }
      }
    }
  }
}

}  // namespace
}  // namespace mote::kernels
