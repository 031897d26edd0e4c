// What holds for every coder.
#include "kernels/packed/coder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "base/check.h"
#include "kernels/packed/product/product_cases.h"

namespace mote::kernels {
namespace {

class EveryCoder : public ::testing::TestWithParam<const Coder*> {};
INSTANTIATE_TEST_SUITE_P(All, EveryCoder, ::testing::ValuesIn(coders().begin(), coders().end()),
                         [](const auto& each) { return std::string(each.param->name); });

TEST_P(EveryCoder, IsFoundByItsName) {
  EXPECT_EQ(find_coder(GetParam()->name), GetParam());
  EXPECT_EQ(find_coder("none"), nullptr);
  EXPECT_EQ(coder_of(GetParam()->grid).grid, GetParam()->grid);
}

TEST_P(EveryCoder, DecodesWhatWasEncodedAtEveryWidth) {
  for (Index width = 0; width <= 70; ++width) {
    const PackedRandom made(*GetParam(), {2, 19, width}, 0.7, static_cast<std::uint64_t>(width));
    const PackedMatrices w = made.stack.view();
    ASSERT_NO_THROW(validate(w, "w"));
    const std::vector<float> dense = made.dense();
    std::vector<float> row(static_cast<std::size_t>(width));
    for (Index at = 0; at < 2 * 19; ++at) {
      w.coder->decode_row(w, at / 19, at % 19, row.data());
      ASSERT_TRUE(std::equal(row.begin(), row.end(), dense.begin() + at * width)) << width;
    }
  }
}

TEST_P(EveryCoder, TakesStacksWithoutExpertsRowsOrColumns) {
  for (const StackShape& shape : {StackShape{0, 3, 4}, StackShape{2, 0, 4}, StackShape{2, 3, 0}}) {
    const PackedRandom made(*GetParam(), shape, 0.5, 1);
    EXPECT_NO_THROW(validate(made.stack.view(), "w"));
  }
}

TEST_P(EveryCoder, EncodesTheSameForAnyNumberOfThreads) {
  const PackedRandom made(*GetParam(), {3, 37, 501}, 0.8, 5);
  const ThreadPool pool(3);
  const PackedStack other = made.encoded(*GetParam(), pool);
  for (std::size_t i = 0; i < GetParam()->parts.size(); ++i) {
    const PackedMatrices::Part a = made.stack.view().parts[i], b = other.view().parts[i];
    ASSERT_EQ(a.count, b.count);
    const Index bytes = a.count * bytes_per_element(GetParam()->parts[i].type);
    EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<std::size_t>(bytes)), 0);
  }
}

TEST_P(EveryCoder, CountsEveryBitOfItsParts) {
  const PackedRandom made(*GetParam(), {3, 37, 100}, 0.885, 2);
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < GetParam()->parts.size(); ++i)
    bits += static_cast<std::uint64_t>(8 * made.stack.view().parts[i].count *
                                       bytes_per_element(GetParam()->parts[i].type));
  EXPECT_EQ(num_bits(made.stack.view()), bits);
}

TEST_P(EveryCoder, RefusesPartsOfOtherSizes) {
  const PackedRandom made(*GetParam(), {2, 20, 33}, 0.7, 4);
  const PackedMatrices good = made.stack.view();
  for (std::size_t i = 0; i < GetParam()->parts.size(); ++i) {
    PackedMatrices w = good;
    --w.parts[i].count;
    EXPECT_THROW(validate(w, "w"), Error) << GetParam()->parts[i].name;
  }
  for (const StackShape& shape :
       {StackShape{2, 20, -1}, StackShape{2, 20, Index{1} << 40}, StackShape{-2, 20, 33},
        StackShape{1, 20, 33}, StackShape{2, 21, 33}, StackShape{2, 20, 65},
        StackShape{kMostPackedSide, kMostPackedSide, kMostPackedSide}}) {
    PackedMatrices w = good;
    w.shape = shape;
    EXPECT_THROW(validate(w, "w"), Error);
  }
}

}  // namespace
}  // namespace mote::kernels
