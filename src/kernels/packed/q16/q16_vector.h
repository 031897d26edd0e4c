// Blocks of q16 products, for any instruction set with 128-bit vectors and fused multiply-add.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/packed/q16/q16_block.h"

namespace mote::kernels {
namespace {

struct Four {
  using V = __m128;
  static constexpr int kLanes = 4;
  [[gnu::always_inline]] static V zero() { return _mm_setzero_ps(); }
  [[gnu::always_inline]] static V set(float x) { return _mm_set1_ps(x); }
  [[gnu::always_inline]] static V load(const float* p) { return _mm_loadu_ps(p); }
  [[gnu::always_inline]] static void store(float* p, V v) { _mm_storeu_ps(p, v); }
  [[gnu::always_inline]] static V add(V a, V b) { return _mm_add_ps(a, b); }
  [[gnu::always_inline]] static V mul(V a, V b) { return _mm_mul_ps(a, b); }
  [[gnu::always_inline]] static V fma(V a, V b, V c) { return _mm_fmadd_ps(a, b, c); }
};

// Several vectors side by side: 16 tokens in two AVX2 registers.
template <class S>
struct TwoOf {
  struct V {
    typename S::V a, b;
  };
  static constexpr int kLanes = 2 * S::kLanes;
  [[gnu::always_inline]] static V zero() { return {S::zero(), S::zero()}; }
  [[gnu::always_inline]] static V set(float x) { return {S::set(x), S::set(x)}; }
  [[gnu::always_inline]] static V load(const float* p) {
    return {S::load(p), S::load(p + S::kLanes)};
  }
  [[gnu::always_inline]] static void store(float* p, V v) {
    S::store(p, v.a);
    S::store(p + S::kLanes, v.b);
  }
  [[gnu::always_inline]] static V add(V x, V y) { return {S::add(x.a, y.a), S::add(x.b, y.b)}; }
  [[gnu::always_inline]] static V mul(V x, V y) { return {S::mul(x.a, y.a), S::mul(x.b, y.b)}; }
  [[gnu::always_inline]] static V fma(V x, V y, V z) {
    return {S::fma(x.a, y.a, z.a), S::fma(x.b, y.b, z.b)};
  }
};

constexpr int kSlots = 3;  // nonzero trits of a codeword, at most

[[gnu::always_inline]] inline std::uint32_t slot_of(std::uint32_t entry, int slot) {
  return entry >> 8 * slot & 0xff;
}

// For the byte of a slot: 1 where it adds to S+ (trit 2), and 1 where it adds to S- (trit 1).
struct SignTable {
  float plus[128], minus[128];
};
constexpr SignTable make_signs() {
  SignTable made{};
  for (int byte = 0; byte < 128; ++byte) {
    made.plus[byte] = byte % 4 == 2 ? 1.0f : 0.0f;
    made.minus[byte] = byte % 4 == 1 ? 1.0f : 0.0f;
  }
  return made;
}
constexpr SignTable kSigns = make_signs();

// (S+, S-) in the two lower lanes, one per slot.
struct PairSums {
  __m128 slots[kSlots] = {_mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps()};
  const float* quads = nullptr;  // of the next codeword's first column

  [[gnu::always_inline]] static __m128 pair(const float* p) {
    return _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  [[gnu::always_inline]] void add(std::uint64_t entry) {
    slots[0] = _mm_add_ps(slots[0], pair(quads + (entry & 0xff)));
    slots[1] = _mm_add_ps(slots[1], pair(quads + (entry >> 8 & 0xff)));
    entry >>= 16;
    slots[2] = _mm_add_ps(slots[2], pair(quads + (entry & 0xff)));
    quads += 4 * (entry >> 8);
  }
  [[gnu::always_inline]] float total(float minimum, float maximum) const {
    const __m128 sum = _mm_add_ps(_mm_add_ps(slots[0], slots[1]), slots[2]);
    const __m128 plus = _mm_mul_ss(_mm_set_ss(maximum), sum);
    const __m128 minus = _mm_shuffle_ps(sum, sum, 1);
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(minimum), minus, plus));
  }
};

// kRows neighbouring rows in step: they walk over x together, and their chains of additions do not
// wait for each other.
template <int kRows>
[[gnu::always_inline]] inline void rows_times_token(const Q16Block& block, Index row) {
  const Q16Matrix& w = block.w;
  PairSums sums[kRows];
  const std::uint16_t* codes[kRows];
  Index shared = w.num_codes;
  for (int k = 0; k < kRows; ++k) {
    codes[k] = w.codes + w.row_begin(row + k);
    sums[k].quads = reinterpret_cast<const float*>(block.layout);
    const Index length = w.row_end(row + k) - w.row_begin(row + k);
    if (length < shared) shared = length;
  }
  for (Index i = 0; i < shared; ++i)
#pragma GCC unroll 4
    for (int k = 0; k < kRows; ++k) sums[k].add(w.entries[codes[k][i]]);
#pragma GCC unroll 4
  for (int k = 0; k < kRows; ++k) {
    const std::uint16_t* end = w.codes + w.row_end(row + k);
    for (const std::uint16_t* code = codes[k] + shared; code < end; ++code)
      sums[k].add(w.entries[*code]);
    block.y.data[row + k] = sums[k].total(w.minimum(row + k), w.maximum(row + k));
  }
}

void block_of_one_token(const Q16Block& block) {
  const Index end = block.first + block.count;
  Index row = block.first;
  for (; row + 2 <= end; row += 2) rows_times_token<2>(block, row);
  if (row < end) rows_times_token<1>(block, row);
}

// A row times L tokens: every nonzero weight adds L neighbouring floats.
template <class S>
[[gnu::always_inline]] inline typename S::V row_times_tokens(const Q16Block& block, Index row) {
  using V = typename S::V;
  const Q16Matrix& w = block.w;
  V plus[kSlots] = {S::zero(), S::zero(), S::zero()};
  V minus[kSlots] = {S::zero(), S::zero(), S::zero()};
  const float* x = reinterpret_cast<const float*>(block.layout);
  const std::uint16_t* end = w.codes + w.row_end(row);
  for (const std::uint16_t* code = w.codes + w.row_begin(row); code < end; ++code) {
    const std::uint32_t entry = w.entries[*code];
#pragma GCC unroll 3
    for (int s = 0; s < kSlots; ++s) {
      const std::uint32_t byte = slot_of(entry, s);
      const V lanes = S::load(x + (byte >> 2) * S::kLanes);
      plus[s] = S::fma(lanes, S::set(kSigns.plus[byte]), plus[s]);
      minus[s] = S::fma(lanes, S::set(kSigns.minus[byte]), minus[s]);
    }
    x += S::kLanes * q16_width(entry);
  }
  const V above = S::add(S::add(plus[0], plus[1]), plus[2]);
  const V below = S::add(S::add(minus[0], minus[1]), minus[2]);
  return S::fma(S::set(w.minimum(row)), below, S::mul(S::set(w.maximum(row)), above));
}

template <class S>
void block_of_tokens(const Q16Block& block) {
  alignas(64) float y_RL[kQ16BlockRows * S::kLanes];
  for (Index k = 0; k < block.count; ++k)
    S::store(y_RL + k * S::kLanes, row_times_tokens<S>(block, block.first + k));
  for (Index t = 0; t < block.x.size(0); ++t) {
    float* y = block.y.row(t) + block.first;
    for (Index k = 0; k < block.count; ++k) y[k] = y_RL[k * S::kLanes + t];
  }
}

template <class Eight, class Sixteen>
[[gnu::always_inline]] inline void block_of_any(const Q16Block& block) {
  switch (q16_lanes(block.x.size(0))) {
    case 1:
      return block_of_one_token(block);
    case 4:
      return block_of_tokens<Four>(block);
    case 8:
      return block_of_tokens<Eight>(block);
    default:
      return block_of_tokens<Sixteen>(block);
  }
}

// dx += W^T dy, a row of W after the other: what a slot adds is one of three vectors.
template <class S>
void to_input_of_tokens(const Q16Block& block) {
  using V = typename S::V;
  const Q16Matrix& w = block.w;
  const Index tokens = block.x.size(0);
  float* dx_IL = reinterpret_cast<float*>(block.layout);
  for (Index i = 0; i < w.columns; ++i) S::store(dx_IL + i * S::kLanes, S::zero());
  alignas(64) float dy[S::kLanes] = {}, added[3 * S::kLanes] = {};
  for (Index row = 0; row < w.rows; ++row) {
    for (Index t = 0; t < tokens; ++t) dy[t] = block.x(t, row);
    S::store(added + S::kLanes, S::mul(S::set(w.minimum(row)), S::load(dy)));
    S::store(added + 2 * S::kLanes, S::mul(S::set(w.maximum(row)), S::load(dy)));
    float* dx = dx_IL;
    const std::uint16_t* end = w.codes + w.row_end(row);
    for (const std::uint16_t* code = w.codes + w.row_begin(row); code < end; ++code) {
      const std::uint32_t entry = w.entries[*code];
#pragma GCC unroll 3
      for (int s = 0; s < kSlots; ++s) {
        const std::uint32_t byte = slot_of(entry, s);
        float* at = dx + (byte >> 2) * S::kLanes;
        const V more = S::load(added + (byte & 3) * S::kLanes);
        S::store(at, S::add(S::load(at), more));
      }
      dx += S::kLanes * q16_width(entry);
    }
  }
  for (Index t = 0; t < tokens; ++t)
    for (Index i = 0; i < w.columns; ++i) block.y(t, i) = dx_IL[S::kLanes * i + t];
}

template <class Eight, class Sixteen>
[[gnu::always_inline]] inline void to_input_of_any(const Q16Block& block) {
  switch (q16_lanes(block.x.size(0))) {
    case 1:
    case 4:
      return to_input_of_tokens<Four>(block);
    case 8:
      return to_input_of_tokens<Eight>(block);
    default:
      return to_input_of_tokens<Sixteen>(block);
  }
}

}  // namespace
}  // namespace mote::kernels
