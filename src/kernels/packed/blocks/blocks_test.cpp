#include "kernels/packed/blocks/blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/check.h"

namespace mote::kernels {
namespace {

std::vector<float> decode(const char* name, const std::vector<std::byte>& blocks) {
  const BlockType& type = *find_block_type(std::string_view(name));
  std::vector<float> values(blocks.size() / static_cast<std::size_t>(type.bytes) *
                            static_cast<std::size_t>(type.elements));
  decode_blocks(type, blocks, values);
  return values;
}

std::vector<std::byte> encode(const char* name, const std::vector<float>& values) {
  const BlockType& type = *find_block_type(std::string_view(name));
  std::vector<std::byte> blocks(values.size() / static_cast<std::size_t>(type.elements) *
                                static_cast<std::size_t>(type.bytes));
  encode_blocks(type, values, blocks);
  return blocks;
}

std::vector<std::byte> bytes(const std::vector<int>& values) {
  std::vector<std::byte> all;
  for (const int value : values) all.push_back(static_cast<std::byte>(value));
  return all;
}

// -0.5, 0, 0.5, -0.5, ...
std::vector<float> thirds() {
  std::vector<float> values(256);
  for (std::size_t i = 0; i < 256; ++i) values[i] = 0.5f * (static_cast<float>(i % 3) - 1);
  return values;
}

TEST(Blocks, Tq2IsThePublishedVector) {
  std::vector<int> want;
  for (int i = 0; i < 64; ++i) want.push_back(std::vector<int>{0x18, 0x61, 0x86}[i % 3]);
  want.insert(want.end(), {0x00, 0x38});
  EXPECT_EQ(encode("TQ2_0", thirds()), bytes(want));
  EXPECT_EQ(decode("TQ2_0", bytes(want)), thirds());
}

TEST(Blocks, Tq1IsThePublishedVector) {
  std::vector<int> want;
  for (int i = 0; i < 32; ++i) want.push_back(std::vector<int>{0x45, 0x6c, 0xcf}[i % 3]);
  for (int i = 0; i < 16; ++i) want.push_back(std::vector<int>{0x94, 0xbb, 0x31}[i % 3]);
  want.insert(want.end(), {0x30, 0x92, 0xbb, 0x30, 0x00, 0x38});
  EXPECT_EQ(encode("TQ1_0", thirds()), bytes(want));
  EXPECT_EQ(decode("TQ1_0", bytes(want)), thirds());
}

TEST(Blocks, AllNumbersOfFiveTernaryDigitsComeBack) {
  for (int v = 0; v < 243; ++v) {
    std::vector<float> values(256, 1);
    for (int n = 0, left = v; n < 5; ++n, left /= 3)
      values[static_cast<std::size_t>(32 * (4 - n))] = static_cast<float>(left % 3 - 1);
    const std::vector<std::byte> block = encode("TQ1_0", values);
    EXPECT_EQ(std::to_integer<int>(block[0]), (256 * v + 242) / 243);
    EXPECT_EQ(decode("TQ1_0", block), values);
  }
}

TEST(Blocks, ZerosAreZerosAndNumbersTooSmallForAScaleToo) {
  for (const char* name : {"Q8_0", "TQ1_0", "TQ2_0"})
    for (const float value : {0.0f, 1e-40f, -1e-44f}) {
      const std::vector<float> values(256, value);
      for (const float back : decode(name, encode(name, values))) EXPECT_EQ(back, 0) << name;
    }
}

TEST(Blocks, HalvesOfQ8AreRoundedAwayFromZero) {
  std::vector<float> values(32, 0);
  values[0] = 127;  // the scale is 1
  values[1] = 2.5f;
  values[2] = -2.5f;
  values[3] = 0.49f;
  const std::vector<float> back = decode("Q8_0", encode("Q8_0", values));
  EXPECT_EQ(back[1], 3);
  EXPECT_EQ(back[2], -3);
  EXPECT_EQ(back[3], 0);
}

TEST(Blocks, RefuseNumbersThatTheyDoNotHold) {
  EXPECT_NO_THROW(encode("Q8_0", std::vector<float>(32, 65504.0f * 127)));
  EXPECT_THROW(encode("Q8_0", std::vector<float>(32, 65504.0f * 128)), Error);
  EXPECT_THROW(encode("TQ2_0", std::vector<float>(256, 65536)), Error);
  EXPECT_THROW(encode("F16", {70000}), Error);
  for (const char* name : {"Q8_0", "TQ1_0", "TQ2_0"})
    for (const float value : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> values(256, 1);
      values[77] = value;
      EXPECT_THROW(encode(name, values), Error) << name << value;
    }
  EXPECT_NO_THROW(encode("BF16", {NAN, INFINITY}));
}

TEST(Blocks, RefuseSizesThatDiffer) {
  const BlockType& type = *find_block_type(std::string_view("Q4_0"));
  std::vector<std::byte> blocks(36);
  std::vector<float> values(64);
  EXPECT_NO_THROW(decode_blocks(type, blocks, values));
  EXPECT_THROW(decode_blocks(type, blocks, std::span(values).first(63)), Error);
  EXPECT_THROW(decode_blocks(type, blocks, std::span(values).first(32)), Error);
  EXPECT_THROW(encode_blocks(type, values, blocks), Error);  // it is only read
}

TEST(Blocks, AreReadAtAnyAddress) {
  for (const BlockType& type : block_types()) {
    std::vector<std::byte> aligned(static_cast<std::size_t>(3 * type.bytes));
    for (std::size_t i = 0; i < aligned.size(); ++i) aligned[i] = static_cast<std::byte>(37 * i);
    std::vector<std::byte> odd(aligned.size() + 1);
    std::copy(aligned.begin(), aligned.end(), odd.begin() + 1);
    std::vector<float> a(static_cast<std::size_t>(3 * type.elements)), b = a;
    decode_blocks(type, aligned, a);
    decode_blocks(type, std::span(odd).subspan(1), b);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << type.name;
  }
}

// Neighbours 2b and 2b + 1 of a byte become the halves j and j + 16.
TEST(Mxfp4, FromPairsIsThePublishedVector) {
  std::vector<std::byte> pairs, blocks(17);
  for (int i = 0; i < 16; ++i) pairs.push_back(static_cast<std::byte>(i));
  mxfp4_from_pairs(pairs, bytes({127}), blocks);
  EXPECT_EQ(blocks, bytes({127, 0x80, 0x00, 0x91, 0x00, 0xa2, 0x00, 0xb3, 0x00, 0xc4, 0x00, 0xd5,
                           0x00, 0xe6, 0x00, 0xf7, 0x00}));
}

TEST(Mxfp4, FromPairsKeepsTheOrderOfElements) {
  const float grid[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0f, -0.5, -1, -1.5, -2, -3, -4, -6};
  std::vector<std::byte> pairs, blocks(2 * 17);
  for (int i = 0; i < 32; ++i) pairs.push_back(static_cast<std::byte>(7 * i + 3));
  mxfp4_from_pairs(pairs, bytes({127, 125}), blocks);
  const std::vector<float> values = decode("MXFP4", blocks);
  for (std::size_t j = 0; j < 64; ++j) {
    const int pair = std::to_integer<int>(pairs[j / 2]);
    EXPECT_EQ(values[j], grid[j % 2 ? pair >> 4 : pair & 15] * (j < 32 ? 1.0f : 0.25f)) << j;
  }
  EXPECT_THROW(mxfp4_from_pairs(pairs, bytes({127}), blocks), Error);
}

TEST(Mxfp4, TheSmallestScalesAreExact) {
  std::vector<std::byte> block = bytes({0, 0x01});
  block.resize(17);
  EXPECT_EQ(decode("MXFP4", block)[0], 0x1p-128f);
  block[0] = std::byte{1};
  EXPECT_EQ(decode("MXFP4", block)[0], 0x1p-127f);
  block[0] = std::byte{2};
  EXPECT_EQ(decode("MXFP4", block)[0], 0x1p-126f);
}

}  // namespace
}  // namespace mote::kernels
