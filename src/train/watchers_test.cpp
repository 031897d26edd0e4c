#include "train/watchers.h"

#include <gtest/gtest.h>

namespace mote::train {
namespace {

model::ops::Assignment rows_to(const std::vector<std::int32_t>& experts,
                               const std::vector<std::int32_t>& first) {
  return {4, torch::tensor(first, torch::kInt32), torch::tensor(experts, torch::kInt32),
          torch::ones({static_cast<std::int64_t>(experts.size())})};
}

TEST(UsagePerplexity, CountsRowsWhateverTokensHave) {
  UsagePerplexity even, one;
  even.routed("", rows_to({0, 1, 2, 3}, {0, 3, 3, 4}));
  EXPECT_NEAR(even.least().value(), 1, 1e-12);
  one.routed("", rows_to({2, 2, 2}, {0, 0, 3}));
  EXPECT_NEAR(one.least().value(), 0.25, 1e-12);
  one.routed("", rows_to({0, 1, 2, 3}, {0, 4}));
  EXPECT_NEAR(one.least().value(), 0.25, 1e-12) << "the least of all layers";
}

TEST(UsagePerplexity, LeavesOutALayerWithoutRows) {
  UsagePerplexity none;
  none.routed("", rows_to({}, {0, 0, 0}));
  EXPECT_FALSE(none.least().has_value());
}

}  // namespace
}  // namespace mote::train
