// Reading stored numbers as vectors of float32; for the variant files only.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/linear/gemm/gemm_blocking.h"

namespace mote::kernels {
namespace {

[[gnu::always_inline]] inline Index min_index(Index a, Index b) {
  return a < b ? a : b;
}

// Stored row r of an operand.
[[gnu::always_inline]] inline const char* stored_row(const Operand& x, Index r) {
  return static_cast<const char*>(x.data) + (x.pick ? x.pick[r] : r) * x.stride * size_of(x.type);
}

// Element `at` of a stored row and those behind it: all lanes, or the first n.
template <class S, Type T>
[[gnu::always_inline]] inline typename S::V load_stored(const char* row, Index at) {
  if constexpr (T == Type::f32) return S::load(reinterpret_cast<const float*>(row) + at);
  if constexpr (T == Type::bf16) return S::load_bf16(reinterpret_cast<const Bf16*>(row) + at);
  if constexpr (T == Type::f16) return S::load_f16(reinterpret_cast<const F16*>(row) + at);
}
template <class S, Type T>
[[gnu::always_inline]] inline typename S::V load_stored(const char* row, Index at, Index n) {
  if constexpr (T == Type::f32) return S::load(reinterpret_cast<const float*>(row) + at, n);
  if constexpr (T == Type::bf16) return S::load_bf16(reinterpret_cast<const Bf16*>(row) + at, n);
  if constexpr (T == Type::f16) return S::load_f16(reinterpret_cast<const F16*>(row) + at, n);
}
// The first n lanes, or all if there are as many.
template <class S, Type T>
[[gnu::always_inline]] inline typename S::V load_some(const char* row, Index at, Index n) {
  return n >= S::kLanes ? load_stored<S, T>(row, at) : load_stored<S, T>(row, at, n);
}

// Rounded to bfloat16 where S multiplies such numbers in float32.
template <class S, Type T>
[[gnu::always_inline]] inline typename S::V as_multiplied(typename S::V v) {
  if constexpr (S::kRounds && T != Type::bf16) return S::round_to_bf16(v);
  return v;
}

// One vector of steps along a stored row, of which n elements are left: 0 beyond them.
template <class S, Type T>
[[gnu::always_inline]] inline typename S::V load_steps(const char* row, Index at, Index n) {
  if constexpr (S::kPerStep == 1) {
    return n > 0 ? as_multiplied<S, T>(load_some<S, T>(row, at, n)) : S::zero();
  } else if constexpr (T == Type::bf16) {
    return S::load_pairs(reinterpret_cast<const Bf16*>(row) + at, n);
  } else {
    if (n <= 0) return S::zero();
    return S::pairs_along(
        load_some<S, T>(row, at, n),
        n > S::kLanes ? load_some<S, T>(row, at + S::kLanes, n - S::kLanes) : S::zero());
  }
}

}  // namespace
}  // namespace mote::kernels
