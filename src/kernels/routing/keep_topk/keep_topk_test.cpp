#include "kernels/routing/keep_topk/keep_topk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"

namespace mote::kernels {
namespace {

std::vector<float> kept(const std::vector<float>& x, Index columns, Index k, const Run& run = {}) {
  Guarded<float> y(static_cast<Index>(x.size()));
  std::copy(x.begin(), x.end(), y.data());
  keep_topk({view(y.data(), y.size() / columns, columns), k}, run);
  return y.values();
}

// By sorting.
std::vector<float> oracle(std::vector<float> x, Index columns, Index k) {
  for (auto row = x.begin(); row != x.end(); row += columns) {
    std::vector<float> sorted(row, row + columns);
    std::sort(sorted.rbegin(), sorted.rend());
    const float least = k <= columns ? std::max(sorted[static_cast<std::size_t>(k - 1)], 0.0f) : 0;
    for (auto each = row; each != row + columns; ++each)
      if (*each < least) *each = 0;
  }
  return x;
}

TEST(KeepTopk, KeepsWhatIsAtLeastTheKthLargest) {
  for (const Index columns : {1, 2, 9, 33, 100})
    for (Index k = 1; k <= columns + 1; k += 1 + columns / 7) {
      std::vector<float> x = normals(40 * columns, 1);
      for (float& each : x) each = std::max(each, 0.0f);
      EXPECT_EQ(kept(x, columns, k), oracle(x, columns, k)) << columns << " " << k;
      for (float& each : x) each = std::round(2 * each);  // ties are all kept
      EXPECT_EQ(kept(x, columns, k), oracle(x, columns, k)) << columns << " " << k;
    }
}

TEST(KeepTopk, ChangesNothingWhereFewerArePositive) {
  const std::vector<float> x = {0, 3, 0, -1, 2, 0};
  EXPECT_EQ(kept(x, 6, 3), x);
  EXPECT_EQ(kept(x, 6, 2), (std::vector<float>{0, 3, 0, 0, 2, 0}));
  EXPECT_EQ(kept(x, 6, 1), (std::vector<float>{0, 3, 0, 0, 0, 0}));
}

TEST(KeepTopk, KeepsNaNAndInfinity) {
  const std::vector<float> y = kept({1, NAN, 2, INFINITY, 3}, 5, 2);
  EXPECT_TRUE(std::isnan(y[1]));
  EXPECT_EQ(y[3], INFINITY);
  EXPECT_EQ(y[0] + y[2] + y[4], 0);
}

TEST(KeepTopk, HasTheSameBitsForAnyThreads) {
  const ThreadPool three(3);
  const std::vector<float> x = absolute(normals(100 * 50, 1));
  EXPECT_EQ(kept(x, 50, 7), kept(x, 50, 7, {Isa::amx, &three}));
}

TEST(KeepTopk, RefusesKOfZero) {
  EXPECT_THROW(kept({1, 2}, 2, 0), Error);
}

}  // namespace
}  // namespace mote::kernels
