#include "kernels/routing/sort/sort.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/core/guarded.h"

namespace mote::kernels {
namespace {

struct Sorted {
  std::vector<std::int32_t> experts, first, ends, order, token, position;
  Index num_experts;
};

Sorted sorted(const std::vector<std::int32_t>& experts, const std::vector<std::int32_t>& first,
              Index num_experts) {
  const auto rows = static_cast<Index>(experts.size());
  Guarded<std::int32_t> ends(num_experts), order(rows), token(rows), position(rows);
  sort_routes({view(experts.data(), rows), view(first.data(), static_cast<Index>(first.size())),
               num_experts, ends.data(), order.data(), token.data(), position.data()});
  return {experts,           first,      ends.values(), order.values(), token.values(),
          position.values(), num_experts};
}

// Tokens with none to four rows each; an expert may come twice.
Sorted any() {
  const auto experts = *rc::gen::inRange<std::int32_t>(1, 9);
  const auto counts = *rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, 5));
  std::vector<std::int32_t> first = {0};
  for (const std::int32_t count : counts) first.push_back(first.back() + count);
  const auto chosen = *rc::gen::container<std::vector<std::int32_t>>(
      static_cast<std::size_t>(first.back()), rc::gen::inRange(0, experts));
  return sorted(chosen, first, experts);
}

RC_GTEST_PROP(SortRoutes, PositionIsTheInverseOfOrder, ()) {
  const Sorted s = any();
  for (std::size_t r = 0; r < s.order.size(); ++r) {
    RC_ASSERT(s.position.at(static_cast<std::size_t>(s.order[r])) == static_cast<int>(r));
    const auto token = static_cast<std::size_t>(s.token[r]);
    RC_ASSERT(s.first[token] <= s.order[r] && s.order[r] < s.first[token + 1]);
  }
}

RC_GTEST_PROP(SortRoutes, KeepsTheOrderWithinAnExpert, ()) {
  const Sorted s = any();
  std::vector<std::int32_t> want(s.order.size());
  for (std::size_t r = 0; r < want.size(); ++r) want[r] = static_cast<std::int32_t>(r);
  const auto expert = [&](std::int32_t r) { return s.experts[static_cast<std::size_t>(r)]; };
  std::stable_sort(want.begin(), want.end(),
                   [&](std::int32_t a, std::int32_t b) { return expert(a) < expert(b); });
  RC_ASSERT(s.order == want);
}

RC_GTEST_PROP(SortRoutes, EndsCountTheRowsOfEachExpert, ()) {
  const Sorted s = any();
  std::int32_t begin = 0;
  for (std::int32_t e = 0; e < s.num_experts; ++e) {
    const std::int32_t end = s.ends[static_cast<std::size_t>(e)];
    RC_ASSERT(end - begin == std::count(s.experts.begin(), s.experts.end(), e));
    begin = end;
  }
}

RC_GTEST_PROP(RowBlocks, CoverEveryRowOnceByFallingSize, ()) {
  const auto counts =
      *rc::gen::nonEmpty(rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, 2600)));
  std::vector<std::int32_t> ends;
  for (const std::int32_t count : counts) ends.push_back((ends.empty() ? 0 : ends.back()) + count);
  const auto experts = static_cast<Index>(ends.size());
  std::vector<RowBlock> blocks(static_cast<std::size_t>(max_row_blocks(ends.back(), experts)));
  const Index count = make_row_blocks(ends.data(), experts, blocks.data());
  RC_ASSERT(count <= static_cast<Index>(blocks.size()));
  blocks.resize(static_cast<std::size_t>(count));
  std::vector<int> seen(static_cast<std::size_t>(ends.back()));
  std::int32_t last = kBlockRows;
  for (const RowBlock& b : blocks) {
    RC_ASSERT(b.count > 0 && b.count <= last);
    const std::int32_t rows = ends[static_cast<std::size_t>(b.expert)] - b.first;
    RC_ASSERT(b.count == rows || b.count % kBlockRowUnit == 0);
    last = b.count;
    const auto e = static_cast<std::size_t>(b.expert);
    RC_ASSERT(b.first >= (e == 0 ? 0 : ends[e - 1]) && b.first + b.count <= ends[e]);
    for (std::int32_t r = b.first; r < b.first + b.count; ++r) ++seen[static_cast<std::size_t>(r)];
  }
  RC_ASSERT(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
}

TEST(SortRoutes, TakesTokensWithNoneOneAndManyRows) {
  // Token 1 has no row, token 2 goes to expert 2 twice.
  const Sorted s = sorted({1, 2, 0, 2, 0}, {0, 1, 1, 4, 5}, 3);
  EXPECT_EQ(s.ends, (std::vector<std::int32_t>{2, 3, 5}));
  EXPECT_EQ(s.order, (std::vector<std::int32_t>{2, 4, 0, 1, 3}));
  EXPECT_EQ(s.token, (std::vector<std::int32_t>{2, 3, 0, 2, 2}));
  EXPECT_EQ(s.position, (std::vector<std::int32_t>{2, 3, 0, 4, 1}));
}

TEST(SortRoutes, TakesNoRowsAndNoTokens) {
  EXPECT_EQ(sorted({}, {0, 0, 0}, 2).ends, (std::vector<std::int32_t>{0, 0}));
  EXPECT_EQ(sorted({}, {0}, 2).ends, (std::vector<std::int32_t>{0, 0}));
}

TEST(SortRoutes, RefusesWhatDisagreesAndNamesBothValues) {
  const auto refusal = [](const std::vector<std::int32_t>& experts,
                          const std::vector<std::int32_t>& first) -> std::string {
    try {
      sorted(experts, first, 3);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal({0, 2}, {0, 1, 2}), "accepted");
  EXPECT_EQ(refusal({0, 3}, {0, 1, 2}), "sort_routes: expert 3 of 3");
  EXPECT_EQ(refusal({0, -1}, {0, 1, 2}), "sort_routes: expert -1 of 3");
  EXPECT_EQ(refusal({0, 1}, {0, 2, 1, 2}), "sort_routes: first falls from 2 to 1 at token 1");
  EXPECT_EQ(refusal({0, 1}, {0, 1}), "sort_routes: first goes from 0 to 1, the rows from 0 to 2");
  EXPECT_EQ(refusal({0, 1}, {1, 2}), "sort_routes: first goes from 1 to 2, the rows from 0 to 2");
  EXPECT_EQ(refusal({}, {}), "sort_routes: first has 0 numbers where N + 1 are needed");
}

TEST(SortRoutes, RefusesMoreRowsThanItsNumbersReach) {
  const std::int32_t first = 0;
  EXPECT_THROW(sort_routes({View<const std::int32_t, 1>{nullptr, {Index{INT32_MAX} + 1}, {1}},
                            view(&first, 1), 1}),
               Error);
}

}  // namespace
}  // namespace mote::kernels
