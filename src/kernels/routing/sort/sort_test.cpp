#include "kernels/routing/sort/sort.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/core/guarded.h"

namespace mote::kernels {
namespace {

struct Sorted {
  std::vector<std::int32_t> experts, ends, order, token, position;
  Index slots, num_experts;
};

Sorted sorted(std::vector<std::int32_t> experts, Index slots, Index num_experts) {
  const auto rows = static_cast<Index>(experts.size());
  Guarded<std::int32_t> ends(num_experts), order(rows), token(rows), position(rows);
  sort_routes({view<const std::int32_t>(experts.data(), rows / slots, slots), num_experts,
               ends.data(), order.data(), token.data(), position.data()});
  return {experts,           ends.values(), order.values(), token.values(),
          position.values(), slots,         num_experts};
}

Sorted any() {
  const Index slots = *rc::gen::inRange(1, 5), experts = *rc::gen::inRange(1, 9);
  auto rows = *rc::gen::container<std::vector<std::int32_t>>(
      rc::gen::inRange<std::int32_t>(0, static_cast<std::int32_t>(experts)));
  rows.resize(rows.size() / static_cast<std::size_t>(slots) * static_cast<std::size_t>(slots));
  return sorted(rows, slots, experts);
}

RC_GTEST_PROP(SortRoutes, PositionIsTheInverseOfOrder, ()) {
  const Sorted s = any();
  for (std::size_t r = 0; r < s.order.size(); ++r) {
    RC_ASSERT(s.position.at(static_cast<std::size_t>(s.order[r])) == static_cast<int>(r));
    RC_ASSERT(s.token[r] == s.order[r] / s.slots);
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

TEST(SortRoutes, RefusesAnExpertThatIsNotThere) {
  EXPECT_THROW(sorted({0, 3}, 1, 3), Error);
  EXPECT_THROW(sorted({0, -1}, 1, 3), Error);
}

}  // namespace
}  // namespace mote::kernels
