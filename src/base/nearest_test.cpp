#include "base/nearest.h"

#include <gtest/gtest.h>

namespace mote {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsAndSubstitutions) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("flaw", "lawn"), 2);
  EXPECT_EQ(edit_distance("lawn", "flaw"), 2);
}

TEST(Nearest, IsTheFirstOfTheClosest) {
  EXPECT_EQ(nearest("trian", {"eval", "train", "chain"}), "train");
  EXPECT_EQ(nearest("cat", {"car", "bat"}), "car");
}

TEST(Nearest, IsNothingWhenAllAreFar) {
  EXPECT_EQ(nearest("generate", {"eval", "train"}), "");
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(did_you_mean("generate", {"eval"}), "");
  EXPECT_EQ(did_you_mean("evla", {"eval"}), ", did you mean 'eval'?");
}

}  // namespace
}  // namespace mote
