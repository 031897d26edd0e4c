#include "kernels/routing/sort/sort.h"

#include <algorithm>

#include "base/check.h"

namespace mote::kernels {
namespace {

constexpr Index round_up(Index x, Index unit) {
  return (x + unit - 1) / unit * unit;
}

void check(const SortRoutes& args) {
  const Index rows = args.expert_R.size(0), tokens = args.first_N1.size(0) - 1;
  MOTE_CHECK(rows <= INT32_MAX, "sort_routes: ", rows, " rows, 32-bit numbers reach ", INT32_MAX);
  MOTE_CHECK(tokens >= 0, "sort_routes: first has 0 numbers where N + 1 are needed");
  const std::int32_t* first = args.first_N1.data;
  MOTE_CHECK(first[0] == 0 && first[tokens] == rows, "sort_routes: first goes from ", first[0],
             " to ", first[tokens], ", the rows from 0 to ", rows);
  for (Index n = 0; n < tokens; ++n)
    MOTE_CHECK(first[n] <= first[n + 1], "sort_routes: first falls from ", first[n], " to ",
               first[n + 1], " at token ", n);
  for (Index r = 0; r < rows; ++r) {
    const std::int32_t e = args.expert_R(r);
    MOTE_CHECK(e >= 0 && e < args.num_experts, "sort_routes: expert ", e, " of ", args.num_experts);
  }
}

}  // namespace

void sort_routes(const SortRoutes& args) {
  check(args);
  const std::int32_t *expert = args.expert_R.data, *first = args.first_N1.data;
  std::fill_n(args.ends, args.num_experts, 0);
  for (Index r = 0; r < args.expert_R.size(0); ++r) ++args.ends[expert[r]];
  // Turn counts into starts; placing a row moves its expert's start on, which leaves the ends.
  std::int32_t start = 0;
  for (Index e = 0; e < args.num_experts; ++e) {
    const std::int32_t count = args.ends[e];
    args.ends[e] = start;
    start += count;
  }
  for (Index n = 0; n + 1 < args.first_N1.size(0); ++n)
    for (std::int32_t r = first[n]; r < first[n + 1]; ++r) {
      const std::int32_t sorted = args.ends[expert[r]]++;
      args.order[sorted] = r;
      args.token[sorted] = static_cast<std::int32_t>(n);
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
