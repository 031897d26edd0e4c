// What happens to a tile of sums in registers before it is stored; for the variant files only.
#pragma once

#include "kernels/linear/gemm/gemm_values.h"

namespace mote::kernels {
namespace {

// A tile of c. `finish` is null while sums over further k are to come; `add` says whether c holds
// something to add to.
struct Tile {
  float* c;
  Index stride;
  Index columns;  // that exist
  bool add;
  const Finish* finish;
  Index row, column;  // of the tile's first element within c
};

// max(0, x) in this order of operands keeps a NaN.
template <class S, class Load>
[[gnu::always_inline]] inline typename S::V finished(const Tile& t, Index r, Index v,
                                                     typename S::V value, const Load& load) {
  if (t.add) value = S::add(load(t.c + r * t.stride + v), value);
  if (!t.finish) return value;
  const Finish& f = *t.finish;
  if (f.bias) value = S::add(value, load(f.bias + t.column + v));
  if (f.activation == Activation::relu) value = S::max(S::zero(), value);
  if (f.factor)
    value = S::mul(value, load(f.factor + (t.row + r) * f.factor_stride + t.column + v));
  if (f.row_scale) value = S::mul(value, S::set(f.row_scale[t.row + r]));
  return value;
}

// Row r of a tile: `Vectors` vectors of sums.
template <class S, int Vectors>
[[gnu::always_inline]] inline void finish_row(const Tile& t, Index r,
                                              const typename S::V (&sum)[Vectors]) {
#pragma GCC unroll 4
  for (int i = 0; i < Vectors; ++i) {
    const Index v = i * S::kLanes, left = t.columns - v;
    float* to = t.c + r * t.stride + v;
    if (left >= S::kLanes)
      S::store(to, finished<S>(t, r, v, sum[i], [](const float* p) { return S::load(p); }));
    else if (left > 0)
      S::store(to, finished<S>(t, r, v, sum[i], [&](const float* p) { return S::load(p, left); }),
               left);
  }
}

// One finished element, where sums are not in vectors of columns.
[[gnu::always_inline]] inline void finish_element(const Gemm& g, Index i, Index j, float value) {
  const Finish& f = g.finish;
  float* to = g.c + i * g.c_stride + j;
  if (f.accumulate) value += *to;
  if (f.bias) value += f.bias[j];
  if (f.activation == Activation::relu) value = value < 0 ? 0 : value;
  if (f.factor) value *= f.factor[i * f.factor_stride + j];
  if (f.row_scale) value *= f.row_scale[i];
  *to = value;
}

}  // namespace
}  // namespace mote::kernels
