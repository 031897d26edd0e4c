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

// Comparisons as bits, lane 0 lowest; false where one is NaN.
struct RankAvx2 : Avx2 {
  [[gnu::always_inline]] static unsigned above(V a, V b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
  }
  [[gnu::always_inline]] static unsigned at_least(V a, V b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
  }
};

#if defined(__AVX512F__)
struct RankAvx512 : Avx512 {
  [[gnu::always_inline]] static unsigned above(V a, V b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
  }
  [[gnu::always_inline]] static unsigned at_least(V a, V b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
  }
};
#endif

constexpr int kMostGroups = 64, kMostCandidates = 128;

// How many of `count` numbers come before number i: those above it, and those before it that are as
// large. `numbers` is padded with NaN to whole vectors.
template <class S>
[[gnu::always_inline]] inline int rank_of(const float* numbers, int count, int i) {
  const typename S::V mine = S::set(numbers[i]);
  int rank = 0;
  for (int first = 0; first < count; first += S::kLanes) {
    const typename S::V others = S::load(numbers + first);
    const int before = i - first;
    const unsigned earlier = before <= 0           ? 0u
                             : before >= S::kLanes ? (1u << S::kLanes) - 1
                                                   : (1u << before) - 1;
    rank += __builtin_popcount(S::above(others, mine) | (S::at_least(others, mine) & earlier));
  }
  return rank;
}

// A number that at least k scores of the row reach: the k-th largest of kVectors * lanes maxima.
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
  for (int i = 0; i < kGroups; ++i)
    if (rank_of<S>(maxima, kGroups, i) == k - 1) return maxima[i];
  return -__builtin_inff();
}

// Whether the row's list could be made this way.
template <class S, int kVectors>
[[gnu::always_inline]] inline bool topk_of_row(const float* scores, Index columns,
                                               std::int32_t* list, int k) {
  std::int32_t candidate[kMostCandidates + S::kLanes];
  int count = 0;
  const typename S::V bound = S::set(bound_of<S, kVectors>(scores, columns, k));
  const auto collect = [&](Index c, unsigned reached) {
    for (; reached != 0; reached &= reached - 1)
      candidate[count++] = static_cast<std::int32_t>(c) + __builtin_ctz(reached);
    return count <= kMostCandidates;
  };
  Index c = 0;
  for (; c + S::kLanes <= columns; c += S::kLanes)
    if (!collect(c, S::at_least(S::load(scores + c), bound))) return false;
  if (c < columns && !collect(c, S::at_least(S::load(scores + c, columns - c), bound) &
                                     ((1u << (columns - c)) - 1)))
    return false;
  if (count < k) return false;
  alignas(64) float numbers[kMostCandidates + S::kLanes];
  for (int i = 0; i < count; ++i) numbers[i] = scores[candidate[i]];
  S::store(numbers + count, S::set(__builtin_nanf("")));
  for (int i = 0; i < count; ++i)
    if (const int rank = rank_of<S>(numbers, count, i); rank < k) list[rank] = candidate[i];
  return true;
}

template <class S, int kVectors>
void topk_of_rows(const Topk& args) {
  const Index columns = args.scores_NE.size(1), k = args.index_NK.size(1);
  for (Index n = 0; n < args.scores_NE.size(0); ++n)
    if (!topk_of_row<S, kVectors>(args.scores_NE.row(n), columns, args.index_NK.row(n),
                                  static_cast<int>(k)))
      topk_of_row_plain(args.scores_NE.row(n), columns, args.index_NK.row(n), k);
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
