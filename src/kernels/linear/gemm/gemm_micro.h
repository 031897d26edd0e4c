// The micro-kernel: a tile of c in registers, k walked once; for the variant files only.
//
// Each row of a is a pointer, so that rows of float32 are read where they lie; a_step floats lie
// between two steps of a row, a panel's width between two steps of b.
#pragma once

#include "kernels/linear/gemm/gemm_block_of_a.h"
#include "kernels/linear/gemm/gemm_finish.h"

namespace mote::kernels {
namespace {

template <class S, int NumRows, int Vectors>
void micro(Index steps, const float* const* a_rows, Index a_step, const float* b, const Tile& t) {
  const float* a[NumRows];
  typename S::V sum[NumRows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < NumRows; ++r) {
    a[r] = a_rows[r];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      sum[r][v] = S::zero();
      __builtin_prefetch(t.c + r * t.stride + v * S::kLanes, 1);
    }
  }
  Index at = 0;
  for (Index s = 0; s < steps; ++s) {
    typename S::V column[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) column[v] = S::load(b + v * S::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < NumRows; ++r) {
      const typename S::V value = S::broadcast(a[r] + at);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[r][v] = S::multiply_add(value, column[v], sum[r][v]);
    }
    at += a_step;
    b += Vectors * S::kLanes;
  }
#pragma GCC unroll 16
  for (int r = 0; r < NumRows; ++r) finish_row<S, Vectors>(t, r, sum[r]);
}

using Micro = void (*)(Index, const float* const*, Index, const float*, const Tile&);

template <class S>
struct MicroTable {
  Micro of[S::kRows][S::kVectors] = {};  // [rows - 1][vectors - 1]
  constexpr MicroTable() { fill(std::make_integer_sequence<int, S::kRows * S::kVectors>()); }

 private:
  template <int... I>
  constexpr void fill(std::integer_sequence<int, I...>) {
    ((of[I / S::kVectors][I % S::kVectors] = micro<S, I / S::kVectors + 1, I % S::kVectors + 1>),
     ...);
  }
};

// `rows` of the block of a from panel `panel` on, times a panel of b that is `vectors` wide.
template <class S>
[[gnu::always_inline]] inline void multiply_tile(const BlockOfA& a, Index panel, Index rows,
                                                 Index steps, const float* b, Index vectors,
                                                 const Tile& tile) {
  static constexpr MicroTable<S> kMicro;
  const float* a_rows[S::kRows];
  for (Index r = 0; r < rows; ++r) a_rows[r] = row_of<S>(a, panel, r);
  kMicro.of[rows - 1][vectors - 1](steps, a_rows, a.step, b, tile);
}

}  // namespace
}  // namespace mote::kernels
