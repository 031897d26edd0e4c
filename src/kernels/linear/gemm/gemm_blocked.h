// The blocked product, written once for any S: a vector type of core/simd.h with
//   kRows, kVectors      the micro-kernel's tile
//   kPerStep             neighbouring k in 32 bits: 1 (float32) or 2 (bfloat16)
//   kStepUnit            panels have a multiple of so many steps; above 1, a is copied by rows
//   kRounds              whether operands are rounded to bfloat16 and multiplied in float32
//   kMatrices            1, or 2 in a gated product: of each panel the first half is gate's
//   step                 a step from its one or two k; with two, pairs_along and load_pairs as well
//   multiply_add         unless `multiply` is another than the micro-kernel for vectors
// Included by the variant files only, after <utility>.
#pragma once

#include "kernels/linear/gated/gated_vector.h"
#include "kernels/linear/gemm/gemm_micro.h"
#include "kernels/linear/gemm/gemm_pack_source.h"

namespace mote::kernels {
namespace {

// S with tiles of so many rows, of a vector of gate's columns beside one of b's.
template <class S, int Rows>
struct GatedTiles : S {
  static constexpr int kRows = Rows, kVectors = 2, kMatrices = 2;
};

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

// Panels of a gated product: a vector of gate's columns, then the same of b's.
template <class S, Type T>
void pack_pairs_of(const Gemm& g, Index j0, Index columns, Index k0, Index depth, float* out) {
  constexpr Index kWidth = 2 * S::kLanes;
  for (Index j = 0; j < columns; j += S::kLanes, out += kWidth * steps_of<S>(depth)) {
    const Index width = min_index(S::kLanes, columns - j);
    pack_across<S, T>(g.gate, j0 + j, width, k0, depth, out, kWidth);
    pack_across<S, T>(g.b, j0 + j, width, k0, depth, out + S::kLanes, kWidth);
    if constexpr (S::kStepUnit > 1) clear_spare_steps<S>(kWidth, depth, out);
  }
}

template <class S>
void pack_columns(const Gemm& g, Index j0, Index columns, Index k0, Index depth, float* out) {
  if constexpr (S::kMatrices == 1) return pack_b<S>(g.b, j0, columns, k0, depth, out);
  if constexpr (S::kMatrices == 2) switch (g.b.type) {
      case Type::f32:
        return pack_pairs_of<S, Type::f32>(g, j0, columns, k0, depth, out);
      case Type::bf16:
        return pack_pairs_of<S, Type::bf16>(g, j0, columns, k0, depth, out);
      case Type::f16:
        return pack_pairs_of<S, Type::f16>(g, j0, columns, k0, depth, out);
    }
}

// Where a tile of row i, column j of c and of column `at` of its block goes: to c, or in a gated
// product to sums, row by row of a panel, of which units are made at the end.
template <class S>
[[gnu::always_inline]] inline Tile tile_of(const GemmBlock& block, Index i, Index j, Index at,
                                           Index columns, Index k0, bool last) {
  const Gemm& g = block.product;
  if constexpr (S::kMatrices == 1)
    return {g.c + i * g.c_stride + j,   g.c_stride, columns, g.finish.accumulate || k0 > 0,
            last ? &g.finish : nullptr, i,          j};
  constexpr Index kWidth = 2 * S::kLanes;
  const bool whole = k0 == 0 && last;
  return {block.sums + (whole ? 0 : (at / S::kLanes * g.m + i) * kWidth),
          kWidth,
          kWidth,
          k0 > 0,
          nullptr,
          i,
          j};
}

template <class S>
void finish_units(const Gemm& g, const Tile& sums, Index rows, Index columns) {
  const float* first = sums.c;
  gated_vector<S>({{first, {rows, columns}, {sums.stride, 1}},
                   {first + S::kLanes, {rows, columns}, {sums.stride, 1}},
                   g.unit,
                   {g.c + sums.row * g.c_stride + sums.column, {rows, columns}, {g.c_stride, 1}}});
}

template <class S, auto multiply = multiply_tile<S>>
void gemm_blocked(const GemmBlock& block) {
  const Gemm& g = block.product;
  const GemmBlocking& cut = block.cut;
  const float* packed = g.b.panels;
  const Index at_once = cut.columns / S::kMatrices;
  for (Index j0 = 0; j0 < g.n; j0 += at_once) {
    const Index columns = min_index(at_once, g.n - j0);
    for (Index k0 = 0; k0 == 0 || k0 < g.k; k0 += cut.depth) {
      const Index depth = min_index(cut.depth, g.k - k0), steps = steps_of<S>(depth);
      const bool last = k0 + cut.depth >= g.k;
      const bool panel_stays = stays_in_l1(steps * S::kVectors * S::kLanes);
      const float* panels = packed ? packed : block.b_panels;
      if (packed)
        packed += gemm_b_floats(cut);
      else
        pack_columns<S>(g, j0, columns, k0, depth, block.b_panels);
      for (Index i0 = 0; i0 < g.m; i0 += cut.rows) {
        const Index rows = min_index(cut.rows, g.m - i0);
        const BlockOfA a = block_of_a<S>(g.a, i0, rows, k0, depth, block.a_panels);
        const Index group = panel_stays ? rows : Index{S::kRows};
        for (Index first = 0; first < rows; first += group)
          for (Index j = 0, w; j < columns; j += w) {
            w = panel_width<S>(columns - j);
            for (Index i = first; i < min_index(first + group, rows); i += S::kRows) {
              const Tile tile = tile_of<S>(block, i0 + i, j0 + j, j, columns - j, k0, last);
              const Index tile_rows = min_index(S::kRows, rows - i);
              multiply(a, i / S::kRows, tile_rows, steps, panels + S::kMatrices * j * steps,
                       S::kMatrices * w / S::kLanes, tile);
              if constexpr (S::kMatrices == 2)
                if (last) finish_units<S>(g, tile, tile_rows, min_index(w, columns - j));
            }
          }
      }
    }
  }
}

}  // namespace
}  // namespace mote::kernels
