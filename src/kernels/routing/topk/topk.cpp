#include "kernels/routing/topk/topk.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/routing/topk/topk_rows.h"

namespace mote::kernels {
namespace {

void check(const Topk& args) {
  const Index n = args.scores_NE.size(0), e = args.scores_NE.size(1), k = args.index_NK.size(1);
  MOTE_CHECK(args.index_NK.size(0) == n, "topk: ", n, " rows of scores, ", args.index_NK.size(0),
             " of indices");
  MOTE_CHECK(k >= 1 && k <= e, "topk: k is ", k, ", a row has ", e, " scores");
}

void reference(const Topk& args, const Run&) {
  for (Index n = 0; n < args.scores_NE.size(0); ++n) {
    const float* scores = args.scores_NE.row(n);
    std::int32_t* list = args.index_NK.row(n);
    const Index k = args.index_NK.size(1);
    first_columns(scores, list, k);
    for (Index column = k; column < args.scores_NE.size(1); ++column)
      if (ranks_above(scores[column], scores[list[k - 1]]))
        insert_column(scores, static_cast<std::int32_t>(column), list, k);
  }
}

constexpr Variant<Topk> kVariants[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX512
    {Isa::avx512, topk_avx512},
#endif
};

}  // namespace

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
