#include "kernels/packed/two_bit/two_bit.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/check.h"
#include "kernels/packed/product/product_cases.h"

namespace mote::kernels {
namespace {

constexpr std::size_t kCodes = 0, kScales = 1, kZeros = 2;

// docs/formats.md prints this matrix.
TEST(TwoBit, GivesTheDocumentedBytes) {
  std::vector<std::uint8_t> codes = {0, 2, 3, 2, 1, 3, 3, 3, 3, 1};
  const float levels[] = {0.3671875f, 1, -2, 3};
  const PackedStack made = kTwoBit.encode(view<const std::uint8_t>(codes.data(), 1, 2, 5),
                                          view(levels, Index{1}, Index{2}, Index{2}), serial());
  const PackedMatrices w = made.view();
  ASSERT_EQ(w.parts[kCodes].count, 64);
  std::vector<std::uint8_t> want(64);
  const std::uint8_t first[] = {0 | 1 << 2, 2, 3, 2, 3 | 1 << 2, 3, 3, 3};
  std::copy_n(first, 8, want.begin());
  EXPECT_TRUE(std::equal(want.begin(), want.end(), w.part<std::uint8_t>(kCodes)));
  EXPECT_EQ(w.part<Bf16>(kScales)[0], 0x3ebc);
  EXPECT_EQ(w.part<std::uint8_t>(kZeros)[1], 3);
  EXPECT_EQ(num_bits(w), 8u * (64 + 2 * 2 + 2));
  const TwoBitMatrix m = two_bit_expert(w, 0);
  EXPECT_EQ(m.value(0, 2), 0.734375f);
  EXPECT_EQ(m.value(1, 4), 4);
}

TEST(TwoBit, EveryCodeHasItsPlace) {
  const PackedRandom made(kTwoBit, {2, 37, 70}, 0, 5);
  for (Index e = 0; e < 2; ++e) {
    const TwoBitMatrix m = two_bit_expert(made.stack.view(), e);
    for (Index r = 0; r < 37; ++r)
      for (Index c = 0; c < 70; ++c)
        ASSERT_EQ(m.code(r, c), made.symbols_ERC[static_cast<std::size_t>((e * 37 + r) * 70 + c)]);
  }
}

TEST(TwoBit, RefusesLargerCodesAndZeros) {
  const std::uint8_t codes[2] = {1, 4};
  const float levels[2] = {1, 1}, beyond[2] = {1, 4};
  const auto encode = [&](Index columns, const float* of) {
    kTwoBit.encode(view(codes, Index{1}, Index{1}, columns), view(of, Index{1}, Index{1}, Index{2}),
                   serial());
  };
  EXPECT_NO_THROW(encode(1, levels));
  EXPECT_THROW(encode(2, levels), Error);
  EXPECT_THROW(encode(1, beyond), Error);
}

// Rows of codes one after the other, four columns a byte, as files of format_version 1 have them.
TEST(TwoBitFirstForm, HoldsTheSameMatrices) {
  const PackedRandom made(kTwoBit, {2, 19, 21}, 0, 3);
  std::vector<std::uint8_t> bytes(2 * 19 * 6);
  for (std::size_t row = 0; row < 2 * 19; ++row)
    for (std::size_t c = 0; c < 21; ++c)
      bytes[row * 6 + c / 4] = static_cast<std::uint8_t>(
          bytes[row * 6 + c / 4] | made.symbols_ERC[row * 21 + c] << 2 * (c % 4));
  PackedMatrices old = made.stack.view();
  old.parts[kCodes] = {bytes.data(), static_cast<Index>(bytes.size())};
  const PackedMatrices w = kTwoBit.first_form->convert(old, "w").view();
  for (std::size_t i = 0; i < 3; ++i) ASSERT_EQ(w.parts[i].count, made.stack.view().parts[i].count);
  const PackedStack converted = kTwoBit.first_form->convert(old, "w");
  EXPECT_TRUE(std::equal(converted.view().part<std::uint8_t>(kCodes),
                         converted.view().part<std::uint8_t>(kCodes) + w.parts[kCodes].count,
                         made.stack.view().part<std::uint8_t>(kCodes)));
  bytes[5] = 1 << 2;
  EXPECT_THROW(kTwoBit.first_form->convert(old, "w"), Error) << "a weight after the last column";
}

class TwoBitRefuses : public ::testing::Test {
 protected:
  PackedStack w = PackedRandom(kTwoBit, {2, 3, 9}, 0, 4).stack;
  void expect_refused(const std::string& part) {
    try {
      validate(w.view(), "layer.0.wi");
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::file);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("layer.0.wi"), std::string::npos);
    }
  }
};

TEST_F(TwoBitRefuses, AZeroThatIsNoCode) {
  w.part<std::uint8_t>(kZeros)[4] = 4;
  expect_refused("expert 1 row 1 has the zero 4");
}
TEST_F(TwoBitRefuses, AScaleThatIsNotFinite) {
  w.part<Bf16>(kScales)[2] = to_bf16(std::numeric_limits<float>::infinity());
  expect_refused("has the scale inf");
}
TEST_F(TwoBitRefuses, WeightsBehindTheLastColumn) {
  w.part<std::uint8_t>(kCodes)[1] |= 1 << 4;  // row 0, column 9
  expect_refused("after its last column 8");
}
TEST_F(TwoBitRefuses, WeightsBehindTheLastRow) {
  w.part<std::uint8_t>(kCodes)[64 + 4 * 3] |= 1;
  expect_refused("expert 1 row 3 is beyond the last row 2");
}

}  // namespace
}  // namespace mote::kernels
