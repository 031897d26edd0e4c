// The blocked product, written once for any S: a vector type of core/simd.h with
//   kRows, kVectors      the micro-kernel's tile
//   kPerStep             neighbouring k in 32 bits: 1 (float32) or 2 (bfloat16)
//   kRounds              whether operands are rounded to bfloat16 and multiplied in float32
//   multiply_add, store_step
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

// Panels of columns [j0, j0 + columns) and k [k0, k0 + depth), one behind the other.
template <class S>
void pack_b(const Operand& b, Index j0, Index columns, Index k0, Index depth, float* out) {
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

// A block of rows of a as the micro-kernel reads it: row r at step s is `step` * s floats behind the
// start of the row. Rows of float32 are read where they lie (`direct`); others are copied, by rows
// of `pitch`, or by panels of kRows when k runs across stored rows.
struct BlockOfA {
  const Operand* direct;
  Index first_row, first_k;
  const float* copy;
  Index pitch, panel_pitch, step;
};

template <class S>
[[gnu::always_inline]] inline const float* row_of(const BlockOfA& a, Index panel, Index r) {
  const Index i = panel * S::kRows + r;
  if (a.direct)
    return reinterpret_cast<const float*>(stored_row(*a.direct, a.first_row + i)) + a.first_k;
  return a.panel_pitch ? a.copy + panel * a.panel_pitch + r : a.copy + i * a.pitch;
}

template <class S, Type T>
void copy_rows(const Operand& a, Index i0, Index rows, Index k0, Index depth, Index pitch,
               float* out) {
  const Index steps = steps_of<S>(depth);
  for (Index r = 0; r < rows; ++r, out += pitch) {
    const char* row = stored_row(a, i0 + r);
    for (Index s = 0; s < steps; s += S::kLanes) {
      const Index k = s * S::kPerStep, left = depth - k;
      const auto some = [&](Index from) {
        return from < left ? as_multiplied<S, T>(load_some<S, T>(row, k0 + k + from, left - from))
                           : S::zero();
      };
      S::store_row(out + s, some(0), S::kPerStep == 2 ? some(S::kLanes) : S::zero());
    }
  }
}

template <class S, Type T>
BlockOfA block_of_a(const Operand& a, Index i0, Index rows, Index k0, Index depth, float* out) {
  const Index steps = steps_of<S>(depth);
  if (a.rows == Rows::inner) {
    constexpr Index kGap = S::kLanes;
    pack_along<S, T>(
        a, i0, rows, k0, depth, out, [](Index) { return Index{S::kRows}; }, kGap);
    return {nullptr, i0, k0, out, 0, steps * S::kRows + kGap, S::kRows};
  }
  if (T == Type::f32 && S::kPerStep == 1 && !S::kRounds) return {&a, i0, k0, nullptr, 0, 0, 1};
  const Index pitch = (steps + S::kLanes - 1) / S::kLanes * S::kLanes + 16;
  copy_rows<S, T>(a, i0, rows, k0, depth, pitch, out);
  return {nullptr, i0, k0, out, pitch, 0, 1};
}

template <class S>
BlockOfA block_of_a(const Operand& a, Index i0, Index rows, Index k0, Index depth, float* out) {
  switch (a.type) {
    case Type::f32:
      break;
    case Type::bf16:
      return block_of_a<S, Type::bf16>(a, i0, rows, k0, depth, out);
    case Type::f16:
      return block_of_a<S, Type::f16>(a, i0, rows, k0, depth, out);
  }
  return block_of_a<S, Type::f32>(a, i0, rows, k0, depth, out);
}

template <class S>
void gemm_blocked(const GemmBlock& block) {
  static constexpr MicroTable<S> kMicro;
  const Gemm& g = block.product;
  const GemmBlocking& cut = block.cut;
  for (Index j0 = 0; j0 < g.n; j0 += cut.columns) {
    const Index columns = min_index(cut.columns, g.n - j0);
    for (Index k0 = 0; k0 == 0 || k0 < g.k; k0 += cut.depth) {
      const Index depth = min_index(cut.depth, g.k - k0), steps = steps_of<S>(depth);
      const bool last = k0 + cut.depth >= g.k;
      pack_b<S>(g.b, j0, columns, k0, depth, block.b_panels);
      for (Index i0 = 0; i0 < g.m; i0 += cut.rows) {
        const Index rows = min_index(cut.rows, g.m - i0);
        const BlockOfA a = block_of_a<S>(g.a, i0, rows, k0, depth, block.a_panels);
        for (Index j = 0, w; j < columns; j += w) {
          w = panel_width<S>(columns - j);
          const auto vectors = w / S::kLanes;
          for (Index i = 0, panel = 0; i < rows; i += S::kRows, ++panel) {
            const Index count = min_index(S::kRows, rows - i);
            const float* a_rows[S::kRows];
            for (Index r = 0; r < count; ++r) a_rows[r] = row_of<S>(a, panel, r);
            const Tile tile{g.c + (i0 + i) * g.c_stride + j0 + j,
                            g.c_stride,
                            columns - j,
                            g.finish.accumulate || k0 > 0,
                            last ? &g.finish : nullptr,
                            i0 + i,
                            j0 + j};
            kMicro.of[count - 1][vectors - 1](steps, a_rows, a.step, block.b_panels + j * steps,
                                              tile);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace mote::kernels
