// The k of n keys that have the largest products with a query, exact in float32: the first step of
// product-key retrieval (product_keys.h), which needs them of two sets.
//
//   score(j) = <q, key j>
//   row_MK[m] = the k best j by falling score; equal scores go to the lower j; NaN comes last
//
// Few keys are scored: those that products in 8 bits do not rule out.
//
//   q = s q8 + dq,  key j = t_j c_j + e_j   whole numbers q8, c_j; s, t_j from the largest number of each
//   |<q, key j> - s t_j <q8, c_j>| <= |s q8| |e_j| + |dq| |key j| <= E |key j|
//       E = |s q8| max_j (|e_j| / |key j|) + |dq|, and room for the rounding of float32 sums
//   sure   = { j : s t_j <q8, c_j> - E |key j| >= L }     with an L that at least k keys reach
//   scored = { j : s t_j <q8, c_j> + E |key j| >= the smallest score of sure ones }
//
// Every other key's score is below those of k keys. Where 8 bits cannot tell (a query with numbers that are
// not finite, with zeros only, or the largest beyond 1e15 or below 1e-15) all keys are scored; a set with
// such a key, zeros apart, cannot be laid out.
//
// For what suits_best_keys() allows. Rows have unit stride. The row of a table that lays keys out is the one
// to read them with.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

[[gnu::always_inline]] constexpr bool suits_best_keys(Index n, Index k, Index columns) {
  return k >= 1 && k <= 32 && n >= 256 && columns >= 1 && columns <= 1024;
}

// Keys as an instruction set reads them: where the parts start, in bytes. At a multiple of 64.
struct KeyLayout {
  static constexpr Index kKeys = 64, kColumns = 8;  // both are filled up to these
  Index keys, columns;                              // as filled up

  [[gnu::always_inline]] constexpr KeyLayout(Index n, Index c)
      : keys((n + kKeys - 1) / kKeys * kKeys), columns((c + kColumns - 1) / kColumns * kColumns) {}
  // max_j |e_j| / |key j|, float; negative: they could not be laid out.
  [[gnu::always_inline]] static constexpr Index share() { return 0; }
  [[gnu::always_inline]] static constexpr Index scales() { return 64; }       // t_j, float
  [[gnu::always_inline]] Index norms() const { return scales() + 4 * keys; }  // |key j|, float
  [[gnu::always_inline]] Index sums() const { return norms() + 4 * keys; }    // of c_j, int32
  [[gnu::always_inline]] Index codes() const { return sums() + 4 * keys; }    // c_j, int8
  [[gnu::always_inline]] Index bytes() const { return codes() + keys * columns; }
};

struct LayOutKeys {
  View<const float, 2> keys_NC;
  std::byte* to;
};
[[gnu::always_inline]] inline bool laid_out(const std::byte* keys) {
  return *reinterpret_cast<const float*>(keys + KeyLayout::share()) >= 0;
}

struct BestKeys {
  View<const float, 2> q_MC, keys_NC;
  const std::byte* keys;         // laid out
  std::byte* work;               // of work_bytes(), at a multiple of 64
  View<std::int32_t, 2> row_MK;  // out
  View<float, 2> score_MK;       // out

  // Queries are looked at so many at a time.
  static constexpr Index kQueries = 24;
  static constexpr Index kLists = 10;  // of candidates, each with room for all keys
  [[gnu::always_inline]] static constexpr Index list_length(const KeyLayout& layout) {
    return layout.keys + 16;
  }
  [[gnu::always_inline]] static constexpr Index work_bytes(const KeyLayout& layout) {
    return kQueries * (layout.columns + 4 * layout.keys) + 4 * kLists * list_length(layout);
  }
};

// Both on the calling thread.
std::span<const Variant<LayOutKeys>> lay_out_keys_variants();
std::span<const Variant<BestKeys>> best_keys_variants();
void lay_out_keys_avx2(const LayOutKeys& args, const Run& run);
void lay_out_keys_avx2_vnni(const LayOutKeys& args, const Run& run);
void lay_out_keys_avx512(const LayOutKeys& args, const Run& run);
void lay_out_keys_avx512_vnni(const LayOutKeys& args, const Run& run);
void best_keys_avx2(const BestKeys& args, const Run& run);
void best_keys_avx2_vnni(const BestKeys& args, const Run& run);
void best_keys_avx512(const BestKeys& args, const Run& run);
void best_keys_avx512_vnni(const BestKeys& args, const Run& run);

}  // namespace mote::kernels
