#include "kernels/routing/sort/sort.h"

#include <algorithm>

#include "base/check.h"

namespace mote::kernels {
namespace {

constexpr Index round_up(Index x, Index unit) {
  return (x + unit - 1) / unit * unit;
}

}  // namespace

void sort_routes(const SortRoutes& args) {
  const auto& experts_NK = args.experts_NK;
  const Index slots = experts_NK.size(1), num_rows = experts_NK.size(0) * slots;
  MOTE_CHECK(num_rows <= INT32_MAX, "sort_routes: ", num_rows, " rows do not fit 32-bit numbers");
  std::fill_n(args.ends, args.num_experts, 0);
  for (Index r = 0; r < num_rows; ++r) {
    const std::int32_t e = experts_NK(r / slots, r % slots);
    MOTE_CHECK(e >= 0 && e < args.num_experts, "sort_routes: expert ", e, " of ", args.num_experts);
    ++args.ends[e];
  }
  // Turn counts into starts; placing a row moves its expert's start on, which leaves the ends.
  std::int32_t start = 0;
  for (Index e = 0; e < args.num_experts; ++e) {
    const std::int32_t count = args.ends[e];
    args.ends[e] = start;
    start += count;
  }
  for (Index r = 0; r < num_rows; ++r) {
    const std::int32_t sorted = args.ends[experts_NK(r / slots, r % slots)]++;
    args.order[sorted] = static_cast<std::int32_t>(r);
    args.token[sorted] = static_cast<std::int32_t>(r / slots);
    args.position[r] = sorted;
  }
}

Index max_row_blocks(Index num_rows, Index num_experts) {
  return num_rows / kBlockRows + num_experts;
}

Index make_row_blocks(const std::int32_t* ends, Index num_experts, RowBlock* blocks) {
  Index count = 0;
  std::int32_t first = 0;
  for (Index e = 0; e < num_experts; ++e) {
    const Index rows = ends[e] - first;
    const Index pieces = std::max<Index>(1, round_up(rows, kBlockRows) / kBlockRows);
    const auto most = static_cast<std::int32_t>(round_up(rows, pieces * kBlockRowUnit) / pieces);
    for (; first < ends[e]; first += blocks[count++].count)
      blocks[count] = {static_cast<std::int32_t>(e), first, std::min(ends[e] - first, most)};
  }
  std::sort(blocks, blocks + count, [](const RowBlock& a, const RowBlock& b) {
    return a.count != b.count ? a.count > b.count : a.first < b.first;
  });
  return count;
}

}  // namespace mote::kernels
