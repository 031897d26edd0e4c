// A block of rows of a, laid out for the micro-kernel; for the variant files only.
#pragma once

#include "kernels/linear/gemm/gemm_pack.h"

namespace mote::kernels {
namespace {

// A block of rows of a as the micro-kernel reads it: row r at step s is `step` * s floats behind the
// start of the row. Rows of float32 are read where they lie (`direct`) unless they would meet in the
// cache; others are copied, by rows of `pitch`, or by panels of kRows when k runs across stored rows.
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
  for (Index r = 0; r < rows; ++r, out += pitch) {
    const char* row = stored_row(a, i0 + r);
    for (Index s = 0; s < steps_of<S>(depth); s += S::kLanes)
      S::store(out + s, load_steps<S, T>(row, k0 + s * S::kPerStep, depth - s * S::kPerStep));
  }
}

// Rows of a from stored rows of k, squares of pairs at a time.
template <class S, Type T>
void copy_columns(const Operand& a, Index i0, Index rows, Index k0, Index depth, Index pitch,
                  float* out) {
  using V = typename S::V;
  for (Index s = 0; s < steps_of<S>(depth); s += S::kLanes)
    for (Index i = 0; i < rows; i += S::kLanes) {
      const auto stored = [&](Index k) -> V {
        if (k >= depth) return S::zero();
        const V v = load_some<S, T>(stored_row(a, k0 + k), i0 + i, rows - i);
        return a.scale ? S::mul(v, S::set(a.scale[k0 + k])) : v;
      };
      V block[S::kLanes];
#pragma GCC unroll 16
      for (int step = 0; step < S::kLanes; ++step)
        block[step] = S::step(stored(2 * (s + step)), stored(2 * (s + step) + 1));
      S::transpose(block);
#pragma GCC unroll 16
      for (int r = 0; r < S::kLanes; ++r) S::store(out + (i + r) * pitch + s, block[r]);
    }
}

// Rows that are a multiple of 1 KiB apart share so few sets of the L1 cache that a tile's rows and
// its panel of b push each other out.
[[gnu::always_inline]] inline bool meet_in_cache(const Operand& a) {
  return a.stride % 256 == 0;
}

template <class S, Type T>
BlockOfA block_of_a(const Operand& a, Index i0, Index rows, Index k0, Index depth, float* out) {
  const Index steps = steps_of<S>(depth);
  const Index pitch = (steps + S::kLanes - 1) / S::kLanes * S::kLanes + 16;
  if constexpr (S::kStepUnit > 1) {  // tiles want rows
    if (a.rows == Rows::inner) {
      copy_columns<S, T>(a, i0, rows, k0, depth, pitch, out);
      return {nullptr, i0, k0, out, pitch, 0, 1};
    }
  }
  if (a.rows == Rows::inner) {
    constexpr Index kGap = S::kLanes;
    pack_along<S, T>(
        a, i0, rows, k0, depth, out, [](Index) { return Index{S::kRows}; }, kGap);
    return {nullptr, i0, k0, out, 0, steps * S::kRows + kGap, S::kRows};
  }
  if (T == Type::f32 && S::kPerStep == 1 && !S::kRounds && !meet_in_cache(a))
    return {&a, i0, k0, nullptr, 0, 0, 1};
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

}  // namespace
}  // namespace mote::kernels
