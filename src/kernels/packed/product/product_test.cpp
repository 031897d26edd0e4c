// Every product of every coder, in every variant, against the dense matrix that it stands for.
#include "kernels/packed/product/product.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/packed/block_rows/block_rows.h"
#include "kernels/packed/product/int8_rows.h"
#include "kernels/packed/product/product_cases.h"

namespace mote::kernels {
namespace {

enum class Kind { product, int8, to_input };

// A row of one of a coder's tables.
struct Row {
  const Coder* coder;
  Kind kind;
  Variant<PackedProduct> variant;
};

// Of the coders that encode, or of those of blocks.
std::vector<Row> rows_of(Kind kind, std::span<const Coder* const> list = coders()) {
  std::vector<Row> rows;
  for (const Coder* coder : list) {
    const auto table = kind == Kind::product ? coder->product
                       : kind == Kind::int8  ? coder->product_int8
                                             : coder->product_to_input;
    if (table == nullptr) continue;
    for (const Variant<PackedProduct>& variant : table()) rows.push_back({coder, kind, variant});
  }
  return rows;
}
Isa isa_of(const Row& row) {
  return row.variant.isa;
}
std::string row_name(const Row& row) {
  constexpr const char* kNames[] = {"product", "int8", "to_input"};
  return std::string(row.coder->name) + "_" + kNames[static_cast<int>(row.kind)] + "_" +
         name(row.variant.isa);
}

struct Data {
  SortedInputs in;
  PackedRandom w;
  Data(const Coder& coder, const ProductCase& of, std::uint64_t seed = 17)
      : in(fitted(coder, of), seed),
        w(coder, {in.shape.experts, in.shape.rows, in.shape.columns}, of.zeros, seed) {}
};

std::vector<float> run(const Data& data, const Row& row, const Run& how = {}) {
  const ProductCase& shape = data.in.shape;
  const bool to_input = row.kind == Kind::to_input;
  const Index in = to_input ? shape.rows : shape.columns,
              out = to_input ? shape.columns : shape.rows;
  Guarded<float> y(data.in.rows() * out);
  row.variant.call({data.w.stack.view(), data.in.inputs(in), data.in.ends_view(),
                    view(y.data(), data.in.rows(), out)},
                   how);
  return y.values();
}

class PackedVariant : public VariantTest<Row, ProductCase> {
 protected:
  Data data() const { return {*row().coder, shape()}; }
};
class PackedProductVariant : public PackedVariant {};
class PackedInt8Variant : public PackedVariant {};

// |error| <= 1e-5 * sum |w x|: a sum of n products has rounding errors of about sqrt(n) / 2 units
// of 6e-8 of that sum, n up to 9001 here; the bound is twice that.
TEST_P(PackedProductVariant, MatchesTheDenseProduct) {
  const Data made = data();
  const std::vector<float> y = run(made, row());
  EXPECT_LE(worst_error(made.in, made.w.dense(), y, row().kind == Kind::to_input, 1e-5), 1);
}

TEST_P(PackedVariant, HasTheSameBitsForAnyThreads) {
  const Data made = data();
  const ThreadPool pool(3);
  EXPECT_EQ(run(made, row()), run(made, row(), {Isa::amx, &pool}));
}

// Each row alone and as a part of any batch: the same bits, since a sum's order is fixed.
TEST_P(PackedVariant, RowsAreThoseOfSingleTokens) {
  const Data all = data();
  const std::vector<float> batch = run(all, row());
  if (all.in.shape.experts != 1 || batch.empty()) return;
  for (const std::int32_t count : {1, 2, 3, 5, 8, 9, 15, 16, 17}) {
    if (count >= all.in.ends[0]) continue;
    Data some = all;
    some.in.ends[0] = count;
    const std::vector<float> y = run(some, row());
    EXPECT_TRUE(std::equal(y.begin(), y.end(), batch.begin())) << count << " rows";
  }
}

// The product of the rounded activations, and of those not rounded. In the first the sums are whole
// numbers and exact; two levels, their sum and the scale are rounded after that: four roundings of
// at most sum |w x8|. Groups of 32 columns are added one after the other, each code and offset apart,
// of sizes up to three times the largest weight of the group. In the second each activation is off
// by half a step of its row, or group, at most.
TEST_P(PackedInt8Variant, IsTheProductOfTheRoundedActivations) {
  const Data made = data();
  const bool blocks = row().coder->blocks != nullptr;
  const Index rows = made.in.shape.rows, columns = made.in.shape.columns;
  const Index group = blocks ? Index{kInt8Group} : columns;
  const std::vector<float> y = run(made, row()), dense = made.w.dense();
  std::vector<std::int8_t> x8(static_cast<std::size_t>(columns));
  std::vector<double> values(static_cast<std::size_t>(columns));
  Index r = 0;
  for (Index e = 0; e < made.in.shape.experts; ++e)
    for (; r < made.in.ends[static_cast<std::size_t>(e)]; ++r) {
      const float* x = made.in.inputs(columns).row(r);
      if (blocks) rounded_in_groups(x, columns, values.data());
      for (Index o = 0; o < rows; ++o) {
        double rounded = 0, exact = 0, sizes = 0, steps = 0;
        for (Index first = 0; first < columns; first += group) {
          const auto scale = static_cast<double>(rounded_to_int8(x + first, group, x8.data()));
          double terms = 0, activations = 0, largest = 0;
          for (Index i = 0; i < group; ++i) {
            const auto w = static_cast<double>(
                dense[static_cast<std::size_t>((e * rows + o) * columns + first + i)]);
            const double each = blocks
                                    ? values[static_cast<std::size_t>(first + i)]
                                    : scale * static_cast<double>(x8[static_cast<std::size_t>(i)]);
            rounded += w * each;
            terms += std::abs(w * each);
            activations += std::abs(each);
            largest = std::max(largest, std::abs(w));
            exact += w * static_cast<double>(x[first + i]);
            steps += std::abs(w) * scale / 2;
          }
          sizes += blocks ? 3 * activations * largest : terms;
        }
        const double roundings = blocks ? static_cast<double>(columns / group) + 4 : 4;
        const double tolerance = roundings * 0x1p-24 * sizes + 1e-30;
        const auto got = static_cast<double>(y[static_cast<std::size_t>(r * rows + o)]);
        ASSERT_NEAR(got, rounded, tolerance) << r << " " << o;
        ASSERT_NEAR(got, exact, 1.001 * steps + (blocks ? tolerance : 1e-30)) << r << " " << o;
      }
    }
}

std::vector<Row> float_rows(std::span<const Coder* const> list = coders()) {
  std::vector<Row> rows = rows_of(Kind::product, list);
  for (const Row& row : rows_of(Kind::to_input, list)) rows.push_back(row);
  return rows;
}
std::vector<Row> all_rows(std::span<const Coder* const> list = coders()) {
  std::vector<Row> rows = float_rows(list);
  for (const Row& row : rows_of(Kind::int8, list)) rows.push_back(row);
  return rows;
}
const auto print = [](const auto& each) { return print_variant_case(each); };
const auto combined = [](const std::vector<Row>& rows) {
  return ::testing::Combine(::testing::ValuesIn(rows), ::testing::ValuesIn(product_cases()));
};
INSTANTIATE_TEST_SUITE_P(All, PackedVariant, combined(all_rows()), print);
INSTANTIATE_TEST_SUITE_P(All, PackedProductVariant, combined(float_rows()), print);
INSTANTIATE_TEST_SUITE_P(All, PackedInt8Variant, combined(rows_of(Kind::int8)), print);

const auto of_blocks = [](const std::vector<Row>& rows) {
  return ::testing::Combine(::testing::ValuesIn(rows), ::testing::ValuesIn(block_cases()));
};
INSTANTIATE_TEST_SUITE_P(Blocks, PackedVariant, of_blocks(all_rows(block_coders())), print);
INSTANTIATE_TEST_SUITE_P(Blocks, PackedProductVariant, of_blocks(float_rows(block_coders())),
                         print);
INSTANTIATE_TEST_SUITE_P(Blocks, PackedInt8Variant, of_blocks(rows_of(Kind::int8, block_coders())),
                         print);

// Calls body(row, made) for every row that can run here.
void for_each_row_here(const std::vector<Row>& rows, const std::function<void(const Row&)>& body) {
  for (const Row& row : rows) {
    SCOPED_TRACE(row_name(row));
    if (supported(row.variant.isa)) body(row);
  }
}

// 1 in the place of each scale of a block whose bits are all set, which make no number.
void set_scales(const BlockType& type, std::byte* block) {
  struct Scales {
    std::string_view type;
    std::vector<Index> at;
  };
  static const std::vector<Scales> kScales = {
      {"Q4_0", {0}},    {"Q4_1", {0, 2}},   {"Q5_0", {0}},   {"Q5_1", {0, 2}},
      {"Q8_0", {0}},    {"Q2_K", {80, 82}}, {"Q3_K", {108}}, {"Q4_K", {0, 2}},
      {"Q5_K", {0, 2}}, {"Q6_K", {208}},    {"TQ1_0", {52}}, {"TQ2_0", {64}}};
  if (std::string_view(type.name) == "MXFP4") block[0] = std::byte{0x80};
  for (const Scales& row : kScales)
    if (row.type == type.name)
      for (const Index at : row.at) {
        block[at] = std::byte{0};
        block[at + 1] = std::byte{0x3c};
      }
}

// Sums of whole numbers up to 4001 times 3 times 127 leave 16 bits.
TEST(PackedInt8, LongRowsOfEqualSignsDoNotOverflow) {
  for_each_row_here(rows_of(Kind::int8), [](const Row& row) {
    for (const std::int32_t tokens : {1, 3}) {
      Data made(*row.coder, {1, 3, 4001, 0, {tokens}});
      std::fill(made.in.x.begin(), made.in.x.end(), 1.0f);
      std::fill(made.w.symbols_ERC.begin(), made.w.symbols_ERC.end(),
                row.coder->grid == Grid::two_bit ? std::uint8_t{3} : std::uint8_t{2});
      made.w.stack = made.w.encoded(*row.coder);
      const double each = static_cast<double>(made.w.dense()[0]);
      EXPECT_NEAR(run(made, row)[0], 4001 * each, 1e-6 * 4001 * std::abs(each)) << tokens;
    }
  });
}

TEST(PackedInt8, OfZerosIsZero) {
  std::vector<Row> rows = rows_of(Kind::int8);
  for (const Row& row : rows_of(Kind::int8, block_coders())) rows.push_back(row);
  for_each_row_here(rows, [](const Row& row) {
    Data made(*row.coder, {1, 5, 40, 0.5, {2}});
    std::fill(made.in.x.begin(), made.in.x.end(), 0.0f);
    EXPECT_EQ(run(made, row), std::vector<float>(10, 0.0f));
  });
}

// Values that lie halfway between two whole numbers, those beyond 127 after division, tiny ones.
TEST(PackedInt8, RoundsAsTheReferenceDoes) {
  for_each_row_here(rows_of(Kind::int8), [](const Row& row) {
    for (const float scale : {1.0f, 1e-38f, 1.4e-45f, 1e33f, 0.3f}) {
      Data made(*row.coder, {1, 9, 255, 0.3, {1}});
      for (Index i = 0; i < 255; ++i)
        made.in.x[static_cast<std::size_t>(i)] = scale * static_cast<float>(i - 127) / 2;
      const Row reference{row.coder, row.kind, row.coder->product_int8()[0]};
      const std::vector<float> want = run(made, reference), got = run(made, row);
      for (std::size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(got[i], want[i], 1e-5 * std::abs(static_cast<double>(want[i]))) << scale;
    }
  });
}

// A matrix whose weights are all 0, whatever symbol that is, gives exactly 0.
TEST(PackedProduct, OfAMatrixOfZerosIsZero) {
  for_each_row_here(rows_of(Kind::product), [](const Row& row) {
    Data made(*row.coder, {1, 40, 333, 1, {5}});
    for (Index at = 0; at < 40 * 333; ++at)
      made.w.symbols_ERC[static_cast<std::size_t>(at)] =
          row.coder->grid == Grid::two_bit ? static_cast<std::uint8_t>(at / 333 % 4)
                                           : std::uint8_t{0};
    made.w.stack = made.w.encoded(*row.coder);
    EXPECT_EQ(run(made, row), std::vector<float>(5 * 40, 0.0f));
  });
}

// Whatever lies in the memory that sums are taken in, and for as many tokens as any variant takes
// together. Levels are so large that sums of another size than 0 overflow.
TEST(PackedProduct, OverNoTermsIsZero) {
  const auto expect_zeros = [](const Row& row, const ProductCase& shape) {
    Data made(*row.coder, shape);
    for (float& level : made.w.levels_ER2)
      if (level != std::floor(level)) level = std::copysign(0x1p126f, level);
    made.w.stack = made.w.encoded(*row.coder);
    {
      Scratch scratch;
      constexpr Index kBytes = 1 << 20;
      std::memset(scratch.take<char>(kBytes), 0x7e, kBytes);
    }
    const std::vector<float> y = run(made, row);
    EXPECT_EQ(y, std::vector<float>(y.size(), 0.0f)) << row_name(row);
  };
  for (const Kind kind : {Kind::product, Kind::int8})
    for_each_row_here(rows_of(kind), [&](const Row& row) {
      expect_zeros(row, {2, 19, 0, 0.7, {40, 1}});
    });
  for_each_row_here(rows_of(Kind::to_input), [&](const Row& row) {
    expect_zeros(row, {2, 0, 19, 0.7, {40, 1}});
  });
}

TEST(PackedProductBatch, VectorVariantsOfQ16AgreeInEveryBit) {
  if (!supported(Isa::avx512)) GTEST_SKIP() << "no avx512 here";
  const Coder& q16 = *find_coder("q16");
  const Data made(q16, {2, 70, 333, 0.8, {20, 1}}, 3);
  const auto variants = q16.product();
  ASSERT_EQ(variants.size(), 3u);
  EXPECT_EQ(run(made, {&q16, Kind::product, variants[1]}),
            run(made, {&q16, Kind::product, variants[2]}));
}

// A group with an outlier is off by half a step of its residual's, not of its own.
TEST(PackedInt8, GroupsWithOutliersKeepTheirResiduals) {
  for_each_row_here(rows_of(Kind::int8, block_coders()), [](const Row& row) {
    for (const std::int32_t tokens : {1, 5}) {
      Data made(*row.coder, {1, 19, 1024, 0, {tokens}});
      for (std::size_t i = 0; i < made.in.x.size(); ++i)
        made.in.x[i] = i % 1024 == 600 ? 1000.0f : std::sin(static_cast<float>(i));
      const Row exact{row.coder, Kind::product, row.coder->product()[0]};
      const std::vector<float> want = run(made, exact), got = run(made, row),
                               dense = made.w.dense();
      for (std::size_t i = 0; i < want.size(); ++i) {
        double steps = 0, terms = 0;
        for (std::size_t column = 0; column < 1024; ++column) {
          const double weight = std::abs(static_cast<double>(dense[i % 19 * 1024 + column]));
          const double step = column / 32 == 600 / 32 ? 1000.0 / 127 / 254 : 1.0 / 127;
          steps += weight * step / 2;
          terms += weight * (column == 600 ? 1000 : 1);
        }
        ASSERT_NEAR(got[i], want[i], steps + 64 * 0x1p-24 * terms) << row_name(row) << " " << i;
      }
    }
  });
}

// Every bit of every code set, or the highest of each byte, so that sums are as large as they get, beside
// activations of one size.
TEST(PackedInt8, CodesAtTheirExtremesDoNotOverflow) {
  for_each_row_here(rows_of(Kind::int8, block_coders()), [](const Row& row) {
    for (const auto& [x, byte] :
         {std::pair{1.0f, 0xff}, {-1.0f, 0xff}, {1.0f, 0x80}, {-1.0f, 0x80}})
      for (const std::int32_t tokens : {1, 3, 9}) {
        Data made(*row.coder, {1, 3, 4096, 0, {tokens}});
        const BlockType& type = *row.coder->blocks();
        auto* blocks = made.w.stack.part<std::byte>(0);
        std::fill_n(blocks, made.w.stack.view().parts[0].count, std::byte(byte));
        for (Index b = 0; b < 3 * 4096 / type.elements; ++b)
          set_scales(type, blocks + b * type.bytes);
        std::fill(made.in.x.begin(), made.in.x.end(), x);
        const Row reference{row.coder, row.kind, row.coder->product_int8()[0]};
        const std::vector<float> want = run(made, reference), got = run(made, row);
        ASSERT_TRUE(std::isfinite(want[0]) && (want[0] != 0 || byte == 0x80)) << type.name;
        for (std::size_t i = 0; i < want.size(); ++i)
          EXPECT_NEAR(got[i], want[i], 1e-5 * std::abs(static_cast<double>(want[i])))
              << type.name << " " << tokens;
      }
  });
}

// Whatever the weights: q16 skips those that are 0, and what 8 bits make of NaN is nothing.
TEST(PackedProduct, OfARowThatIsNotFiniteIsNaNAndLeavesTheOthers) {
  constexpr auto kProducts =
      std::array{packed_product, packed_product_int8, packed_product_to_input};
  for_each_row_here(all_rows(), [&](const Row& row) {
    for (const float bad : {NAN, INFINITY, -INFINITY})
      for (const std::int32_t tokens : {1, 3, 40}) {
        Data made(*row.coder, {1, 19, 50, 0.9, {tokens}});
        const bool to_input = row.kind == Kind::to_input;
        const Index in = to_input ? 19 : 50, out = to_input ? 50 : 19;
        const auto product = [&] {
          std::vector<float> y(static_cast<std::size_t>(tokens * out));
          kProducts[static_cast<std::size_t>(row.kind)](
              {made.w.stack.view(), made.in.inputs(in), made.in.ends_view(),
               view(y.data(), Index{tokens}, out)},
              {row.variant.isa});
          return y;
        };
        const std::vector<float> whole = product();
        made.in.x[static_cast<std::size_t>((tokens - 1) * made.in.widest() + in - 1)] = bad;
        const std::vector<float> y = product();
        const auto last = y.end() - out;
        EXPECT_TRUE(std::equal(y.begin(), last, whole.begin()));
        EXPECT_TRUE(std::all_of(last, y.end(), [](float v) { return std::isnan(v); }));
      }
  });
}

TEST(PackedProductRefuses, ShapesThatDisagree) {
  for (const Coder* coder : coders()) {
    const Data made(*coder, {2, 8, 10, 0.5, {1, 2}});
    std::vector<float> y(24);
    const auto args = [&] {
      return PackedProduct{made.w.stack.view(), made.in.inputs(10), made.in.ends_view(),
                           view(y.data(), Index{3}, Index{8})};
    };
    EXPECT_NO_THROW(packed_product(args(), {}));
    EXPECT_NO_THROW(packed_product_int8(args(), {}));
    const std::int32_t falling[] = {2, 1}, late[] = {1, 4};
    for (const auto& spoil : std::vector<std::function<void(PackedProduct&)>>{
             [](PackedProduct& a) { a.x.sizes[1] = 9; }, [](PackedProduct& a) { a.y.sizes[1] = 7; },
             [](PackedProduct& a) { a.y.sizes[0] = 2; },
             [](PackedProduct& a) { a.ends_E.sizes[0] = 1; },
             [&](PackedProduct& a) { a.ends_E.data = falling; },
             [&](PackedProduct& a) { a.ends_E.data = late; },
             [](PackedProduct& a) { a.x.strides[1] = 2; }}) {
      PackedProduct spoiled = args();
      spoil(spoiled);
      EXPECT_THROW(packed_product(spoiled, {}), Error);
      EXPECT_THROW(packed_product_int8(spoiled, {}), Error);
      EXPECT_THROW(packed_product_to_input(spoiled, {}), Error);
    }
  }
}

}  // namespace
}  // namespace mote::kernels
