// The K largest of rows for any vector type of core/simd.h; included by the variant files only.
//
// Lanes cut a row into groups, whose maxima are scores of it: at least K scores reach the K-th largest
// maximum, and seldom many more. Those are found in a second pass, and each one's rank among them is
// counted. Rows that do not suit this (few scores for K, so many ties or NaN that too many or too few
// reach the bound) go by the plain loop.
#pragma once

#include "kernels/core/simd.h"
#include "kernels/routing/topk/topk.h"

namespace mote::kernels {
namespace {

// The numbers of the bits that are set in a byte, lowest first, a byte each.
struct SetBits {
  std::uint64_t of[256] = {};
  constexpr SetBits() {
    for (unsigned byte = 0; byte < 256; ++byte)
      for (unsigned bit = 0, at = 0; bit < 8; ++bit)
        if (byte >> bit & 1) of[byte] |= std::uint64_t{bit} << 8 * at++;
  }
};
constexpr SetBits kSetBits;

// Comparisons, false where one is NaN: as bits, lane 0 lowest, and counted lane by lane.
struct RankAvx2 : Avx2 {
  using I = __m256i;
  [[gnu::always_inline]] static unsigned at_least(V a, V b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
  }
  // The lanes in `held`, one behind the other: their numbers, plus `first`, and their values. A whole
  // vector is written of both.
  [[gnu::always_inline]] static void compress(unsigned held, Index first, V v, std::int32_t* index,
                                              float* value) {
    const I lanes =
        _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(kSetBits.of[held])));
    store_counts(index, _mm256_add_epi32(lanes, _mm256_set1_epi32(static_cast<int>(first))));
    store(value, _mm256_permutevar8x32_ps(v, lanes));
  }
  [[gnu::always_inline]] static I no_counts() { return _mm256_setzero_si256(); }
  [[gnu::always_inline]] static I count_above(I counts, V a, V b) {
    return minus(counts, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
  }
  [[gnu::always_inline]] static I count_at_least(I counts, V a, V b) {
    return minus(counts, _mm256_cmp_ps(a, b, _CMP_GE_OQ));
  }
  // In lanes behind `lane`.
  [[gnu::always_inline]] static I count_equal_behind(I counts, V a, V b, int lane) {
    const V behind = _mm256_castsi256_ps(
        _mm256_cmpgt_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(lane)));
    return minus(counts, _mm256_and_ps(behind, _mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
  }
  // v in lanes that counted less than `most`, else `other`.
  [[gnu::always_inline]] static V where_below(I counts, int most, V v, V other) {
    return _mm256_blendv_ps(
        other, v, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(most), counts)));
  }
  [[gnu::always_inline]] static void store_counts(std::int32_t* to, I counts) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), counts);
  }
  [[gnu::always_inline]] static float least(V v) {
    return -largest(_mm256_xor_ps(v, _mm256_set1_ps(-0.0f)));
  }

 private:
  [[gnu::always_inline]] static I minus(I counts, V held) {
    return _mm256_sub_epi32(counts, _mm256_castps_si256(held));
  }
};

#if defined(__AVX512F__)
struct RankAvx512 : Avx512 {
  using I = __m512i;
  [[gnu::always_inline]] static unsigned at_least(V a, V b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
  }
  [[gnu::always_inline]] static void compress(unsigned held, Index first, V v, std::int32_t* index,
                                              float* value) {
    const auto mask = static_cast<__mmask16>(held);
    const I lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    store_counts(index,
                 _mm512_maskz_compress_epi32(
                     mask, _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(first)))));
    store(value, _mm512_maskz_compress_ps(mask, v));
  }
  [[gnu::always_inline]] static I no_counts() { return _mm512_setzero_si512(); }
  [[gnu::always_inline]] static I count_above(I counts, V a, V b) {
    return plus(counts, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ));
  }
  [[gnu::always_inline]] static I count_at_least(I counts, V a, V b) {
    return plus(counts, _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ));
  }
  [[gnu::always_inline]] static I count_equal_behind(I counts, V a, V b, int lane) {
    return plus(counts,
                static_cast<__mmask16>(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ) & (0xfffeu << lane)));
  }
  [[gnu::always_inline]] static V where_below(I counts, int most, V v, V other) {
    return _mm512_mask_mov_ps(other, _mm512_cmplt_epi32_mask(counts, _mm512_set1_epi32(most)), v);
  }
  [[gnu::always_inline]] static void store_counts(std::int32_t* to, I counts) {
    _mm512_storeu_si512(to, counts);
  }
  [[gnu::always_inline]] static float least(V v) {
    return RankAvx2::least(_mm256_min_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
  }

 private:
  [[gnu::always_inline]] static I plus(I counts, __mmask16 held) {
    return _mm512_mask_add_epi32(counts, held, counts, _mm512_set1_epi32(1));
  }
};
#endif

constexpr int kMostGroups = 64, kMostCandidates = 128;

// A number that at least k scores of the row reach: the least of those of kVectors * lanes maxima
// above which there are less than k.
template <class S, int kVectors>
[[gnu::always_inline]] inline float bound_of(const float* scores, Index columns, int k) {
  constexpr int kGroups = kVectors * S::kLanes;
  typename S::V best[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) best[v] = S::set(-__builtin_inff());
  for (Index c = 0; c + kGroups <= columns; c += kGroups)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)  // in this order a NaN leaves what was best
      best[v] = S::max(S::load(scores + c + v * S::kLanes), best[v]);
  alignas(64) float maxima[kGroups];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) S::store(maxima + v * S::kLanes, best[v]);
  typename S::I above[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) above[v] = S::no_counts();
  for (int i = 0; i < kGroups; ++i) {
    const typename S::V other = S::broadcast(maxima + i);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) above[v] = S::count_above(above[v], other, best[v]);
  }
  typename S::V least = S::set(__builtin_inff());
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v)
    least = S::min(least, S::where_below(above[v], k, best[v], least));
  return S::least(least);
}

// rank[i]: how many of `count` numbers come before number i, those above it and those before it that
// are as large. Both arrays have room for whole vectors.
template <class S>
[[gnu::always_inline]] inline void ranks_of(const float* numbers, int count, std::int32_t* rank) {
  for (int first = 0; first < count; first += S::kLanes) {
    const typename S::V mine = S::load(numbers + first);
    typename S::I before = S::no_counts();
    int i = 0;
    for (; i < first; ++i) before = S::count_at_least(before, S::broadcast(numbers + i), mine);
    for (; i < count; ++i) {
      const typename S::V other = S::broadcast(numbers + i);
      before = S::count_above(before, other, mine);
      if (i < first + S::kLanes) before = S::count_equal_behind(before, other, mine, i - first);
    }
    S::store_counts(rank + first, before);
  }
}

// Whether the row's list could be made from the scores that reach a bound.
template <class S>
[[gnu::always_inline]] inline bool list_of_row(const float* scores, Index columns, float least,
                                               std::int32_t* list, int k) {
  std::int32_t candidate[kMostCandidates + 2 * S::kLanes];
  alignas(64) float numbers[kMostCandidates + 2 * S::kLanes];
  int count = 0;
  const typename S::V bound = S::set(least);
  // Written without asking whether there is any: which vectors hold some cannot be predicted.
  const auto collect = [&](Index c, typename S::V v, unsigned reached) {
    S::compress(reached, c, v, candidate + count, numbers + count);
    count += __builtin_popcount(reached);
    return count <= kMostCandidates;
  };
  Index c = 0;
  for (; c + S::kLanes <= columns; c += S::kLanes) {
    const typename S::V v = S::load(scores + c);
    if (!collect(c, v, S::at_least(v, bound))) return false;
  }
  if (c < columns) {
    const typename S::V v = S::load(scores + c, columns - c);
    if (!collect(c, v, S::at_least(v, bound) & ((1u << (columns - c)) - 1))) return false;
  }
  if (count < k) return false;
  S::store(numbers + count, S::set(__builtin_nanf("")));
  std::int32_t rank[kMostCandidates + S::kLanes];
  ranks_of<S>(numbers, count, rank);
  for (int i = 0; i < count; ++i)
    if (rank[i] < k) list[rank[i]] = candidate[i];
  return true;
}

template <class S, int kVectors>
void topk_of_rows(const Topk& args) {
  const Index columns = args.scores_NE.size(1), k = args.index_NK.size(1);
  for (Index n = 0; n < args.scores_NE.size(0); ++n) {
    const float* scores = args.scores_NE.row(n);
    const int wanted = static_cast<int>(k);
    if (!list_of_row<S>(scores, columns, bound_of<S, kVectors>(scores, columns, wanted),
                        args.index_NK.row(n), wanted))
      topk_of_row_plain(scores, columns, args.index_NK.row(n), k);
  }
}

// Twice as many groups as scores are wanted, each of at least four.
template <class S>
void topk_vector(const Topk& args, const Run& run) {
  const Index columns = args.scores_NE.size(1), k = args.index_NK.size(1);
  constexpr int kLeast = 16 / S::kLanes;
  const auto suits = [&](int groups) { return 2 * k <= groups && columns >= 4 * groups; };
  if (suits(16)) return topk_of_rows<S, kLeast>(args);
  if (suits(32)) return topk_of_rows<S, 2 * kLeast>(args);
  if (suits(kMostGroups)) return topk_of_rows<S, 4 * kLeast>(args);
  topk_reference(args, run);
}

}  // namespace
}  // namespace mote::kernels
