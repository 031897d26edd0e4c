#include "kernels/routing/topk/topk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/routing/topk/topk_cases.h"

namespace mote::kernels {
namespace {

View<const float, 2> scores_view(const TopkCase& c, const std::vector<float>& scores) {
  return {scores.data(), {c.rows, c.experts}, {c.experts + 3, 1}};
}

// By stable sorting: equal scores stay in the order of their columns, NaN comes last.
std::vector<std::int32_t> oracle(const TopkCase& c, const std::vector<float>& scores) {
  std::vector<std::int32_t> all;
  for (Index n = 0; n < c.rows; ++n) {
    const float* row = scores_view(c, scores).row(n);
    std::vector<std::int32_t> columns(static_cast<std::size_t>(c.experts));
    std::iota(columns.begin(), columns.end(), 0);
    std::stable_sort(columns.begin(), columns.end(), [&](std::int32_t a, std::int32_t b) {
      if (std::isnan(row[a]) || std::isnan(row[b]))
        return std::isnan(row[b]) && !std::isnan(row[a]);
      return row[a] > row[b];
    });
    all.insert(all.end(), columns.begin(), columns.begin() + c.k);
  }
  return all;
}

using TopkVariant = VariantTest<Variant<Topk>, TopkCase>;

TEST_P(TopkVariant, EqualsAStableSort) {
  const auto& [variant, shape] = GetParam();
  const std::vector<float> scores = topk_scores(shape);
  Guarded<std::int32_t> index(shape.rows * shape.k);
  variant.call({scores_view(shape, scores), view(index.data(), shape.rows, shape.k)}, {});
  EXPECT_EQ(index.values(), oracle(shape, scores));
}

INSTANTIATE_TEST_SUITE_P(All, TopkVariant,
                         ::testing::Combine(::testing::ValuesIn(topk_variants().begin(),
                                                                topk_variants().end()),
                                            ::testing::ValuesIn(topk_cases())),
                         [](const auto& each) { return print_variant_case(each); });

TEST(Topk, HasTheSameIndicesForAnyThreads) {
  const TopkCase shape{600, 64, 8, Scores::tied};
  const std::vector<float> scores = topk_scores(shape);
  std::vector<std::int32_t> index(600 * 8);
  const ThreadPool three(3);
  topk({scores_view(shape, scores), view(index.data(), 600, 8)}, {Isa::amx, &three});
  EXPECT_EQ(index, oracle(shape, scores));
}

TEST(Topk, RefusesMoreThanARowHas) {
  const TopkCase shape{2, 3, 3};
  const std::vector<float> scores = topk_scores(shape);
  std::vector<std::int32_t> index(2 * 4);
  EXPECT_THROW(topk({scores_view(shape, scores), view(index.data(), 2, 4)}, {}), Error);
}

}  // namespace
}  // namespace mote::kernels
