#include "model/buffers.h"

#include <gtest/gtest.h>

namespace mote::model {
namespace {

TEST(Buffers, GiveOutAgainWhatNobodyHolds) {
  Buffers buffers;
  const void* first = nullptr;
  {
    const Tensor a = buffers.take({2, 3}, torch::kFloat32);
    first = a.const_data_ptr();
  }
  const Tensor b = buffers.take({2, 3}, torch::kFloat32);
  EXPECT_EQ(b.const_data_ptr(), first);
  EXPECT_NE(buffers.take({2, 3}, torch::kFloat32).const_data_ptr(), first) << "b is held";
  EXPECT_NE(buffers.take({3, 2}, torch::kFloat32).const_data_ptr(), first);
}

TEST(Buffers, LeaveAloneWhatAViewHolds) {
  Buffers buffers;
  Tensor view;
  {
    const Tensor a = buffers.take({4, 3}, torch::kFloat32).fill_(7);
    view = a.narrow(0, 1, 1);
  }
  buffers.take({4, 3}, torch::kFloat32).fill_(1);
  EXPECT_TRUE(view.eq(7).all().item<bool>());
}

TEST(Buffers, ForgetWhatTwoPassesDidNotUse) {
  Buffers buffers;
  buffers.begin_pass(1);
  buffers.take({4}, torch::kInt32);
  for (int pass = 0; pass < 3; ++pass) {
    buffers.take({8}, torch::kFloat32);
    EXPECT_EQ(buffers.bytes(), 48u) << pass;
    buffers.begin_pass(1);
  }
  EXPECT_EQ(buffers.bytes(), 32u);
  buffers.begin_pass(2);
  EXPECT_EQ(buffers.bytes(), 0u) << "of another number of rows";
}

}  // namespace
}  // namespace mote::model
