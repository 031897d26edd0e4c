#include "kernels/packed/two_bit/two_bit.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/check.h"
#include "kernels/packed/two_bit/two_bit_cases.h"

namespace mote::kernels {
namespace {

TEST(TwoBit, PutsFourColumnsIntoAByteLowestFirst) {
  const std::uint8_t codes[5] = {1, 2, 3, 0, 2};
  std::uint8_t bytes[2];
  two_bit_pack_row(codes, 5, bytes);
  EXPECT_EQ(bytes[0], 1 | 2 << 2 | 3 << 4);
  EXPECT_EQ(bytes[1], 2);
}

TEST(TwoBit, UnpacksWhatWasPackedAtEveryWidth) {
  for (Index width = 0; width <= 70; ++width) {
    const TwoBitRandom made(1, 3, width, static_cast<std::uint64_t>(width));
    EXPECT_NO_THROW(validate(made.view(), "w"));
    std::vector<std::uint8_t> row(static_cast<std::size_t>(width));
    for (Index r = 0; r < 3; ++r) {
      two_bit_unpack_row(made.view().expert(0).row(r), width, row.data());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), made.codes_ERC.begin() + r * width));
    }
  }
}

TEST(TwoBit, RefusesToPackLargerCodes) {
  const std::uint8_t codes[2] = {1, 4};
  std::uint8_t byte;
  EXPECT_THROW(two_bit_pack_row(codes, 2, &byte), Error);
}

TEST(TwoBit, ZeroIsTheValueOfTheZeroCode) {
  const TwoBitRandom made(1, 4, 9, 1);
  for (Index r = 0; r < 4; ++r)
    EXPECT_EQ(made.view().expert(0).value(r, made.zeros[static_cast<std::size_t>(r)]), 0);
}

TEST(TwoBitBits, AreThoseOfTheStoredArrays) {
  const TwoBitRandom made(3, 5, 9, 1);
  EXPECT_EQ(num_bits(made.view()),
            8 * (made.packed.size() + made.zeros.size() + 2 * made.scales.size()));
}

class TwoBitRefuses : public ::testing::Test {
 protected:
  TwoBitRandom w{2, 3, 9, 4};
  void expect_refused(const TwoBitExperts& changed, const std::string& part) {
    try {
      validate(changed, "layer.0.wi");
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::file);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("layer.0.wi"), std::string::npos);
    }
  }
};

TEST_F(TwoBitRefuses, NothingThatPackingMade) {
  EXPECT_NO_THROW(validate(w.view(), "w"));
}
TEST_F(TwoBitRefuses, ArraysOfOtherShapes) {
  TwoBitExperts changed = w.view();
  changed.columns = 13;
  expect_refused(changed, "bytes per row is 3, expected 4");
  changed = w.view();
  changed.codes_ERB.sizes[1] = 2;
  expect_refused(changed, "rows in codes is 2, expected 3");
  changed = w.view();
  changed.zeros_ER.sizes[0] = 1;
  expect_refused(changed, "experts in zeros is 1, expected 2");
}
TEST_F(TwoBitRefuses, AZeroThatIsNoCode) {
  w.zeros[4] = 4;
  expect_refused(w.view(), "expert 1 row 1 has the zero 4");
}
TEST_F(TwoBitRefuses, AScaleThatIsNotFinite) {
  w.scales[2] = to_bf16(std::numeric_limits<float>::infinity());
  expect_refused(w.view(), "has the scale inf");
}
TEST_F(TwoBitRefuses, WeightsBehindTheLastColumn) {
  w.packed[2] = 1 << 2;
  expect_refused(w.view(), "after its last column 8");
}

}  // namespace
}  // namespace mote::kernels
