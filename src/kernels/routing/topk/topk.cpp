#include "kernels/routing/topk/topk.h"

#include <algorithm>

#include "base/check.h"

namespace mote::kernels {
namespace {

void check(const Topk& args) {
  const Index n = args.scores_NE.size(0), e = args.scores_NE.size(1), k = args.index_NK.size(1);
  MOTE_CHECK(args.index_NK.size(0) == n, "topk: ", n, " rows of scores, ", args.index_NK.size(0),
             " of indices");
  MOTE_CHECK(k >= 1 && k <= e, "topk: k is ", k, ", a row has ", e, " scores");
}

// Puts `column` into a sorted list whose last place is free or falls out. Columns arrive in rising
// order, so an equal score stays behind those already listed.
void insert_column(const float* scores, std::int32_t column, std::int32_t* list, Index places) {
  Index at = places - 1;
  for (; at > 0 && ranks_above(scores[column], scores[list[at - 1]]); --at) list[at] = list[at - 1];
  list[at] = column;
}

constexpr Variant<Topk> kVariants[] = {
    {Isa::reference, topk_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, topk_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, topk_avx512},
#endif
};

}  // namespace

void topk_of_row_plain(const float* scores, Index columns, std::int32_t* list, Index k) {
  for (std::int32_t column = 0; column < k; ++column)
    insert_column(scores, column, list, column + 1);
  for (auto column = static_cast<std::int32_t>(k); column < columns; ++column)
    if (ranks_above(scores[column], scores[list[k - 1]])) insert_column(scores, column, list, k);
}

void topk_reference(const Topk& args, const Run&) {
  for (Index n = 0; n < args.scores_NE.size(0); ++n)
    topk_of_row_plain(args.scores_NE.row(n), args.scores_NE.size(1), args.index_NK.row(n),
                      args.index_NK.size(1));
}

std::span<const Variant<Topk>> topk_variants() {
  return kVariants;
}

void topk(const Topk& args, const Run& run) {
  check(args);
  const auto& variant = select(topk_variants(), run);
  constexpr Index kRows = 256;
  const Index rows = args.scores_NE.size(0);
  parallel_for(*run.executor, (rows + kRows - 1) / kRows, [&](Index item, int) {
    const Index first = item * kRows, count = std::min(kRows, rows - first);
    Topk part = args;
    part.scores_NE.data = args.scores_NE.row(first);
    part.scores_NE.sizes[0] = count;
    part.index_NK.data = args.index_NK.row(first);
    part.index_NK.sizes[0] = count;
    variant.call(part, run);
  });
}

}  // namespace mote::kernels
