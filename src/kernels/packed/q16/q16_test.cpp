#include "kernels/packed/q16/q16.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/check.h"
#include "kernels/packed/product/product_cases.h"

namespace mote::kernels {
namespace {

std::uint32_t crc32(const void* data, std::size_t bytes) {
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < bytes; ++i) {
    crc ^= static_cast<const std::uint8_t*>(data)[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320u & (0 - (crc & 1)));
  }
  return ~crc;
}

// As the published checksum was made: its start value is FNV's offset basis without the last digit.
std::uint64_t fnv1a64(const void* data, std::size_t bytes) {
  std::uint64_t hash = 1469598103934665603u;
  for (std::size_t i = 0; i < bytes; ++i)
    hash = (hash ^ static_cast<const std::uint8_t*>(data)[i]) * 0x100000001b3u;
  return hash;
}

std::vector<std::uint8_t> trits_of(std::uint32_t entry) {
  std::vector<std::uint8_t> trits(static_cast<std::size_t>(q16_width(entry)));
  for (std::uint32_t slots = entry & 0xffffff; slots != 0; slots >>= 8)
    trits[(slots & 0xff) >> 2] = static_cast<std::uint8_t>(slots & 3);
  return trits;
}

// The two words of the published table: bits 0-3 of both the pair count, trit i at bits 4 + 2 (i %
// 14) of word i / 14.
std::array<std::uint32_t, 2> published(Index codeword) {
  const std::uint32_t entry = q16_entries()[codeword];
  const auto pairs = static_cast<std::uint32_t>(q16_width(entry) / 2);
  std::array<std::uint32_t, 2> words{pairs, pairs};
  const std::vector<std::uint8_t> trits = trits_of(entry);
  for (std::size_t i = 0; i < trits.size(); ++i)
    words[i / 14] |= std::uint32_t{trits[i]} << (4 + 2 * (i % 14));
  return words;
}

int num_nonzero(std::uint32_t entry) {
  int count = 0;
  for (std::uint32_t slots = entry & 0xffffff; slots != 0; slots >>= 8) ++count;
  return count;
}

using Codes = std::vector<std::uint16_t>;

Codes encode(const std::vector<std::uint8_t>& trits) {
  Codes codes((trits.size() + 1) / 2);
  codes.resize(static_cast<std::size_t>(
      q16_encode_row(trits.data(), static_cast<Index>(trits.size()), codes.data())));
  return codes;
}

Codes encode(const std::string& digits) {
  std::vector<std::uint8_t> trits;
  for (char digit : digits) trits.push_back(static_cast<std::uint8_t>(digit - '0'));
  return encode(trits);
}

PackedRandom random_q16(const StackShape& shape, double zeros, std::uint64_t seed) {
  return PackedRandom(kQ16, shape, zeros, seed);
}

// One matrix with levels -1 and 1.
PackedStack encode_matrix(const std::vector<std::uint8_t>& trits, Index rows, Index columns,
                          float minimum = -1, float maximum = 1) {
  std::vector<float> levels;
  for (Index row = 0; row < rows; ++row) levels.push_back(minimum), levels.push_back(maximum);
  return kQ16.encode(view<const std::uint8_t>(trits.data(), 1, rows, columns),
                     view<const float>(levels.data(), 1, rows, 2), serial());
}

Codes codes_of(const PackedMatrices& w) {
  return {w.part<std::uint16_t>(kQ16Codes),
          w.part<std::uint16_t>(kQ16Codes) + w.parts[kQ16Codes].count};
}

void expect_round_trip(const StackShape& shape, double zeros, std::uint64_t seed) {
  const PackedRandom made = random_q16(shape, zeros, seed);
  const PackedMatrices w = made.stack.view();
  EXPECT_NO_THROW(validate(w, "w"));
  std::vector<std::uint8_t> row(static_cast<std::size_t>(shape.columns));
  const std::uint8_t* want = made.symbols_ERC.data();
  for (Index e = 0; e < shape.experts; ++e)
    for (Index r = 0; r < shape.rows; ++r, want += shape.columns) {
      q16_decode_row(q16_expert(w, e), r, row.data());
      ASSERT_TRUE(std::equal(row.begin(), row.end(), want))
          << "expert " << e << " row " << r << " of width " << shape.columns;
    }
}

TEST(Q16Dictionary, HasThePublishedChecksums) {
  std::vector<std::uint32_t> words;
  for (Index k = 0; k < kQ16Entries; ++k)
    for (std::uint32_t word : published(k)) words.push_back(word);
  EXPECT_EQ(crc32(words.data(), 4 * words.size()), 0xc12a4534u);
  EXPECT_EQ(fnv1a64(words.data(), 4 * words.size()), 0x80c2d68064c11a7du);
}

TEST(Q16Dictionary, TrieHasThePublishedChecksum) {
  EXPECT_EQ(crc32(q16_trie(), 4 * 9 * (kQ16Entries + 1)), 0x69083216u);
  EXPECT_EQ(crc32(q16_entries(), 4 * static_cast<std::size_t>(kQ16Entries)), 0x7ec394d0u);
}

TEST(Q16Dictionary, NodesHaveNoneOneFiveOrNineChildren) {
  std::array<int, 10> nodes{};
  for (Index k = 0; k < kQ16Entries; ++k) {
    int children = 0;
    for (int pair = 0; pair < 9; ++pair) children += q16_trie()[9 * k + pair] >= 0;
    ++nodes[static_cast<std::size_t>(children)];
  }
  EXPECT_EQ(nodes[9], 298 - 1);  // the root, not counted here, has nine
  EXPECT_EQ(nodes, (std::array<int, 10>{18545, 42654, 0, 0, 0, 4040, 0, 0, 0, 297}));
}

TEST(Q16Dictionary, CountsByLengthAndByNonzerosArePublished) {
  std::array<int, 15> by_pairs{};
  std::array<int, 4> by_nonzeros{};
  for (Index k = 0; k < kQ16Entries; ++k) {
    ++by_pairs[static_cast<std::size_t>(q16_width(q16_entries()[k]) / 2)];
    ++by_nonzeros[static_cast<std::size_t>(num_nonzero(q16_entries()[k]))];
  }
  EXPECT_EQ(by_pairs, (std::array<int, 15>{0, 9, 65, 233, 577, 1161, 2049, 3305, 4993, 7177, 9921,
                                           13289, 17345, 3843, 1569}));
  EXPECT_EQ(by_nonzeros, (std::array<int, 4>{14, 420, 7700, 57402}));
}

TEST(Q16Dictionary, EntriesAreThePublishedOnes) {
  using Words = std::array<std::uint32_t, 2>;
  const std::pair<Index, Words> rows[] = {
      {0, {0x00000001, 0x00000001}},     {12, {0x00000011, 0x00000001}},
      {15, {0x00000081, 0x00000001}},    {326, {0x00000051, 0x00000001}},
      {100, {0x00000407, 0x00000007}},   {1000, {0x04040006, 0x00000006}},
      {20000, {0x00090409, 0x00000009}}, {40000, {0x0000004b, 0x0000402b}},
      {65535, {0x0102000d, 0x0000020d}}};
  for (const auto& [codeword, words] : rows) EXPECT_EQ(published(codeword), words) << codeword;
}

TEST(Q16Dictionary, ZerosHaveThePublishedCodewords) {
  for (Index pairs = 1; pairs <= 14; ++pairs) {
    const Index codeword = pairs <= 12 ? pairs - 1 : pairs == 13 ? 16 : 25;
    EXPECT_EQ(q16_entries()[codeword], static_cast<std::uint32_t>(2 * pairs) << 24);
  }
}

// With both closures greedy parsing is optimal.
TEST(Q16Dictionary, PrefixesAndSuffixesOfCodewordsAreCodewords) {
  for (Index k = 0; k < kQ16Entries; ++k) {
    const std::vector<std::uint8_t> trits = trits_of(q16_entries()[k]);
    if (trits.size() == 2) continue;
    ASSERT_EQ(encode(trits), Codes{static_cast<std::uint16_t>(k)});
    ASSERT_EQ(encode(std::vector(trits.begin() + 2, trits.end())).size(), 1u) << k;
    ASSERT_EQ(encode(std::vector(trits.begin(), trits.end() - 2)).size(), 1u) << k;
  }
}

TEST(Q16Encode, GivesThePublishedVectors) {
  EXPECT_EQ(encode("0012002"), Codes{8487});
  EXPECT_EQ(encode(std::string(28, '0')), Codes{25});
  EXPECT_EQ(encode(std::string(30, '0')), (Codes{25, 0}));
  EXPECT_EQ(encode(std::string(768, '0')).size(), 28u);
  EXPECT_EQ(encode("22222222"), (Codes{329, 329, 329, 329}));
  EXPECT_EQ(encode("1000000000"), Codes{58});
  EXPECT_EQ(encode(std::string(27, '0') + "1"), Codes{408});
  EXPECT_EQ(encode("010101010101"), (Codes{8260, 8260}));
  EXPECT_EQ(encode(std::string(768, '1')), Codes(384, 326));
  EXPECT_EQ(encode(""), Codes{});
}

TEST(Q16Encode, GivesThePublishedStreamOfTheGenerator) {
  std::vector<std::uint8_t> trits(4 * 2080);
  std::array<int, 3> counts{};
  std::uint64_t s = 1;
  for (std::uint8_t& trit : trits) {
    s = s * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t v = (s >> 33) % 1000;
    trit = v < 885 ? 0 : v < 943 ? 1 : 2;
    ++counts[trit];
  }
  EXPECT_EQ(counts, (std::array<int, 3>{7305, 521, 494}));
  const PackedStack made = encode_matrix(trits, 4, 2080);
  const Q16Matrix w = q16_expert(made.view(), 0);
  const Index starts[] = {0, 93, 193, 289, 394};
  for (Index row = 0; row < 4; ++row) {
    EXPECT_EQ(w.row_begin(row), starts[row]);
    EXPECT_EQ(w.row_end(row), starts[row + 1]);
  }
  const Codes codes = codes_of(made.view());
  EXPECT_EQ(Codes(codes.begin(), codes.begin() + 8),
            (Codes{62422, 44488, 7553, 405, 6637, 13454, 12543, 24178}));
  EXPECT_EQ(crc32(codes.data(), 2 * codes.size()), 0xd7fb7870u);
}

TEST(Q16Encode, DecodesToTheSameTritsAtEveryWidthTo100) {
  for (Index width = 1; width <= 100; ++width)
    for (double p0 : {0.0, 0.5, 0.885, 1.0})
      expect_round_trip({1, 3, width}, p0, static_cast<std::uint64_t>(width));
}

TEST(Q16Encode, DecodesToTheSameTritsAtRealWidths) {
  for (Index width : {767, 2080, 8737, 8738, 8739, 18725, 43691, 131071})
    for (double p0 : {0.0, 0.5, 0.885, 1.0}) expect_round_trip({2, 19, width}, p0, 11);
}

TEST(Q16Encode, DecodesRowsOfOneTrit) {
  for (const std::uint8_t trit : std::array<std::uint8_t, 3>{0, 1, 2}) {
    const std::vector<std::uint8_t> row(2080, trit);
    const Codes codes = encode(row);
    Index pairs = 0;
    for (std::uint16_t code : codes) pairs += q16_width(q16_entries()[code]) / 2;
    EXPECT_EQ(pairs, 1040);
    const PackedStack made = encode_matrix(row, 1, 2080);
    std::vector<std::uint8_t> back(row.size());
    q16_decode_row(q16_expert(made.view(), 0), 0, back.data());
    EXPECT_EQ(back, row);
    EXPECT_EQ(codes.size(), trit == 0 ? 75u : 1040u);
  }
}

// docs/formats.md prints this matrix.
TEST(Q16Encode, GivesTheDocumentedBytes) {
  const std::vector<std::uint8_t> trits = {0, 0, 1, 2, 0, 0, 2, 0, 0, 0, 0,
                                           0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
  const float levels[] = {-0.5f, 0.75f, -1.0f, 1.0f, -0.25f, 1.0f};
  const PackedStack made = kQ16.encode(view(trits.data(), Index{1}, Index{3}, Index{7}),
                                       view(levels, Index{1}, Index{3}, Index{2}), serial());
  const PackedMatrices w = made.view();
  EXPECT_EQ(codes_of(w), (Codes{8487, 3, 8762}));
  EXPECT_EQ(w.part<std::uint64_t>(kQ16Offsets)[1], 3u);
  EXPECT_EQ(w.part<std::uint32_t>(kQ16RowBase)[0], 0u);
  for (const Index row : {0, 1, 2}) EXPECT_EQ(w.part<std::uint16_t>(kQ16RowStart)[row], row);
  EXPECT_EQ(w.part<Bf16>(kQ16Levels)[1], 0x3f40);
  EXPECT_EQ(num_bits(w), 352u);
}

// A trit whose level is 0 is a zero; coding it as such is shorter.
TEST(Q16Encode, StoresTritsOfALevelThatIsZeroAsZeros) {
  const PackedStack made = encode_matrix(std::vector<std::uint8_t>(40, 1), 1, 40, -0.0f, 1);
  EXPECT_EQ(made.view().parts[kQ16Codes].count, 2);
}

TEST(Q16Encode, RefusesWhatIsNoTrit) {
  EXPECT_THROW(encode_matrix({0, 3, 1}, 1, 3), Error);
}

// Section 3.3 of the code's spec; 64 bits per row is what its table counts.
TEST(Q16Rate, OfIndependentTritsIsWithinHalfAPercentOfTheTable) {
  struct Row {
    double p0;
    Index width;
    double bits_per_weight;
  };
  for (const Row& row :
       {Row{0.80, 6144, 1.1315}, Row{0.857, 768, 0.9357}, Row{0.885, 768, 0.8270},
        Row{0.885, 2080, 0.7691}, Row{0.885, 6144, 0.7463}, Row{0.95, 2080, 0.6246}}) {
    const Index rows = 10'000'000 / row.width + 1;
    const PackedRandom made = random_q16({1, rows, row.width}, row.p0, 3);
    const double bits = 16 * static_cast<double>(made.stack.view().parts[kQ16Codes].count) +
                        64 * static_cast<double>(rows);
    EXPECT_NEAR(bits / static_cast<double>(rows * row.width), row.bits_per_weight,
                0.005 * row.bits_per_weight)
        << "p0 " << row.p0 << " width " << row.width;
  }
}

TEST(Q16Bits, DescribeARowIn50) {
  const PackedRandom made = random_q16({1, 6144, 2080}, 0.885, 2);
  const PackedMatrices w = made.stack.view();
  EXPECT_EQ(num_bits(w),
            16 * static_cast<std::uint64_t>(w.parts[kQ16Codes].count) + 50 * 6144 + 2 * 64);
}

TEST(Q16Groups, AreSmallerForWiderRows) {
  EXPECT_EQ(q16_group_rows(1), 16);
  EXPECT_EQ(q16_group_rows(8738), 16);
  EXPECT_EQ(q16_group_rows(8739), 8);
  EXPECT_EQ(q16_group_rows(18724), 8);
  EXPECT_EQ(q16_group_rows(18725), 4);
  EXPECT_EQ(q16_group_rows(43690), 4);
  EXPECT_EQ(q16_group_rows(43691), 2);
  EXPECT_EQ(q16_group_rows(131071), 1);
  EXPECT_EQ(q16_group_rows(kMostPackedSide), 1);
}

class Q16Refuses : public ::testing::Test {
 protected:
  PackedStack w = random_q16({2, 20, 33}, 0.7, 4).stack;
  PackedMatrices changed = w.view();

  void expect_refused(const std::string& part) {
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

TEST_F(Q16Refuses, NothingThatEncodingMade) {
  EXPECT_NO_THROW(validate(w.view(), "w"));
}

TEST_F(Q16Refuses, AnotherNumberOfColumns) {
  changed.shape.columns = 31;
  expect_refused("columns need");
}
TEST_F(Q16Refuses, OffsetsThatStartLate) {
  w.part<std::uint64_t>(kQ16Offsets)[0] = 1;
  expect_refused("offsets start");
}
TEST_F(Q16Refuses, OffsetsThatFall) {
  w.part<std::uint64_t>(kQ16Offsets)[1] = w.part<std::uint64_t>(kQ16Offsets)[2] + 1;
  expect_refused("has codes");
}
TEST_F(Q16Refuses, OffsetsBeyondTheCodes) {
  w.part<std::uint64_t>(kQ16Offsets)[2] = ~std::uint64_t{0};
  expect_refused("has codes");
}
TEST_F(Q16Refuses, OffsetsThatLeaveCodesOver) {
  changed.parts[kQ16Codes].count += 1;  // not read
  expect_refused("offsets end");
}
TEST_F(Q16Refuses, RowsThatStartBeyondTheExpert) {
  w.part<std::uint32_t>(kQ16RowBase)[1] = ~0u;
  expect_refused("row 15 has codes");
}
TEST_F(Q16Refuses, RowsThatFall) {
  w.part<std::uint16_t>(kQ16RowStart)[3] = 0;
  expect_refused("has codes");
}
TEST_F(Q16Refuses, ACodewordOfAnotherLength) {
  std::uint16_t& code = w.part<std::uint16_t>(kQ16Codes)[0];
  code = code == 0 ? 1 : 0;
  expect_refused("row 0 decodes to");
}
TEST_F(Q16Refuses, AWeightBehindAnOddWidth) {
  w = encode_matrix(std::vector<std::uint8_t>(34, 1), 1, 34);
  changed = w.view();
  changed.shape.columns = 33;
  expect_refused("a weight after its last column");
}
TEST_F(Q16Refuses, LevelsOfTheWrongSignOrNotFinite) {
  for (float level :
       {1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    w.part<Bf16>(kQ16Levels)[0] = to_bf16(level);
    expect_refused("has levels");
  }
}

// Arrays of any content are refused or decode inside their bounds.
RC_GTEST_PROP(Q16Property, DamagedArraysAreRefusedOrDecode, ()) {
  PackedStack w = random_q16({2, 18, 21}, 0.6, 9).stack;
  const auto at = *rc::gen::arbitrary<std::size_t>();
  const auto value = *rc::gen::arbitrary<std::uint32_t>();
  const auto part = *rc::gen::inRange<std::size_t>(0, kQ16.parts.size());
  const auto bytes = static_cast<std::size_t>(bytes_per_element(kQ16.parts[part].type));
  const std::size_t place = at % static_cast<std::size_t>(w.view().parts[part].count);
  std::memcpy(w.part<std::byte>(part) + place * bytes, &value, std::min<std::size_t>(bytes, 4));
  try {
    validate(w.view(), "w");
  } catch (const Error&) {
    return;
  }
  std::vector<float> row(21);
  for (Index e = 0; e < 2; ++e)
    for (Index r = 0; r < 18; ++r) kQ16.decode_row(w.view(), e, r, row.data());
}

}  // namespace
}  // namespace mote::kernels
