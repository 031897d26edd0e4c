#include "kernels/routing/keep_topk/keep_topk.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/check.h"
#include "base/scratch.h"

namespace mote::kernels {
namespace {

// Positive numbers rank as the integers of their bits do, and NaN above them; what is not positive is
// 0 here.
std::int32_t rank(float x) {
  return x <= 0 ? 0 : std::bit_cast<std::int32_t>(x) & 0x7fffffff;
}

void keep_topk_of_row(float* x, Index columns, Index k, std::int32_t* ranks) {
  Index positive = 0;
  for (Index i = 0; i < columns; ++i)
    if (const std::int32_t r = rank(x[i]); r > 0) ranks[positive++] = r;
  if (positive < k) return;
  std::nth_element(ranks, ranks + k - 1, ranks + positive, std::greater<>());
  const std::int32_t least = ranks[k - 1];
  for (Index i = 0; i < columns; ++i)
    if (rank(x[i]) < least) x[i] = 0;
}

}  // namespace

void keep_topk(const KeepTopk& args, const Run& run) {
  const Index rows = args.x_NF.size(0), columns = args.x_NF.size(1);
  MOTE_CHECK(args.k >= 1, "keep_topk: K is ", args.k);
  if (args.k >= columns) return;
  constexpr Index kRows = 16;
  parallel_for(*run.executor, (rows + kRows - 1) / kRows, [&](Index item, int) {
    Scratch scratch;
    auto* ranks = scratch.take<std::int32_t>(columns);
    for (Index n = item * kRows; n < std::min(rows, (item + 1) * kRows); ++n)
      keep_topk_of_row(args.x_NF.row(n), columns, args.k, ranks);
  });
}

}  // namespace mote::kernels
