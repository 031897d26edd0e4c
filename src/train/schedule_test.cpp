#include "train/schedule.h"

#include <gtest/gtest.h>

namespace mote::train {
namespace {

TEST(LearningRate, FollowsThePublishedValues) {
  EXPECT_NEAR(learning_rate(2.5e-4, 50000, 0, 100000), 1.25e-4, 1e-9);
  EXPECT_NEAR(learning_rate(2.5e-4, 0, 4000, 100000), 6.25e-8, 1e-12);
  EXPECT_NEAR(learning_rate(2.5e-4, 3999, 4000, 100000), 2.5e-4, 1e-12);
  EXPECT_NEAR(learning_rate(2.5e-4, 50000, 4000, 100000), 1.4067e-4, 1e-8);
  EXPECT_NEAR(learning_rate(2.5e-4, 99999, 4000, 100000), 9.86e-7, 1e-9);
}

}  // namespace
}  // namespace mote::train
