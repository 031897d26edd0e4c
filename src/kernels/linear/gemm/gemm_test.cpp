#include "kernels/linear/gemm/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/linear/gemm/gemm_cases.h"

namespace mote::kernels {
namespace {

struct Row {
  Precision precision;
  Variant<Gemm> variant;
};

Isa isa_of(const Row& row) {
  return row.variant.isa;
}
std::string row_name(const Row& row) {
  return std::string(row.precision == Precision::bf16 ? "bf16_" : "f32_") + name(row.variant.isa);
}

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const Precision precision : {Precision::f32, Precision::bf16})
    for (const Variant<Gemm>& variant : gemm_variants(precision))
      if (variant.isa != Isa::reference) all.push_back({precision, variant});
  return all;
}

std::vector<float> product(const GemmData& data, Precision precision,
                           const Variant<Gemm>& variant) {
  Guarded<float> c(static_cast<Index>(data.c.size()));
  std::copy(data.c.begin(), data.c.end(), c.data());
  variant.call(data.args(c.data(), precision), {});
  return c.values();
}

using GemmVariant = VariantTest<Row, GemmCase>;

TEST_P(GemmVariant, MatchesReference) {
  const auto& [row, shape] = GetParam();
  const GemmData data(shape);
  const Variant<Gemm>& reference = gemm_variants(row.precision).front();
  const std::vector<float> want = product(data, row.precision, reference);
  GemmData sizes = data.sizes();
  sizes.shape.relu = false;
  // The gaps between the rows of c keep their values: their size is their own, and exact.
  EXPECT_LE(worst_error(product(data, row.precision, row.variant), want,
                        product(sizes, row.precision, reference), gemm_tolerance(shape.k)),
            1);
  for (Index i = 0; i < shape.m; ++i)
    for (Index j = shape.n; j < data.c_stride; ++j)
      EXPECT_EQ(want[static_cast<std::size_t>(i * data.c_stride + j)],
                data.c[static_cast<std::size_t>(i * data.c_stride + j)]);
}

std::string print(const ::testing::TestParamInfo<std::tuple<Row, GemmCase>>& each) {
  return print_variant_case(each) + word("_number", static_cast<Index>(each.index));
}
INSTANTIATE_TEST_SUITE_P(All, GemmVariant,
                         ::testing::Combine(::testing::ValuesIn(rows()),
                                            ::testing::ValuesIn(gemm_cases())),
                         print);

TEST(Gemm, IsAPlainProductInTheReference) {
  // [1 2; 3 4] * [5 6; 7 8] = [19 22; 43 50], b stored by k.
  const float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, bias[] = {-20, 1};
  float c[4] = {};
  Gemm g;
  g.m = g.n = g.k = 2;
  g.a = {a, 2, Rows::outer}, g.b = {b, 2, Rows::inner};
  g.c = c, g.c_stride = 2;
  gemm(g, {Isa::reference});
  EXPECT_EQ(std::vector<float>(c, c + 4), (std::vector<float>{19, 22, 43, 50}));
  g.finish = {.bias = bias, .activation = Activation::relu};
  gemm(g, {Isa::reference});
  EXPECT_EQ(std::vector<float>(c, c + 4), (std::vector<float>{0, 23, 23, 51}));
}

TEST(Gemm, LetsNaNThroughBiasAndRelu) {
  for (const Row& row : rows()) {
    if (!supported(row.variant.isa)) continue;
    for (const Index m : {3, 20}) {
      GemmData data(with_options(m, 33, 40, 0b000110000));
      data.a.data[1 + 2 * static_cast<std::size_t>(data.a.stride) + 7] = NAN;
      const std::vector<float> c = product(data, row.precision, row.variant);
      for (Index j = 0; j < 33; ++j)
        EXPECT_TRUE(std::isnan(c[static_cast<std::size_t>(2 * data.c_stride + j)]))
            << name(row.variant.isa) << " m " << m;
      EXPECT_FALSE(std::isnan(c[0]));
    }
  }
}

TEST(Gemm, IgnoresWhatTheResultHeldUnlessItAdds) {
  for (const Row& row : rows()) {
    if (!supported(row.variant.isa)) continue;
    GemmData data(with_options(20, 33, 300, 0));
    const std::vector<float> clean = product(data, row.precision, row.variant);
    for (Index i = 0; i < 20; ++i) std::fill_n(data.c.begin() + i * data.c_stride, 33, NAN);
    const std::vector<float> over = product(data, row.precision, row.variant);
    EXPECT_EQ(over, clean) << name(row.variant.isa);
  }
}

using GatedGemm = VariantTest<Row, GemmCase>;

// Of both products alone, with the units that the same instruction set makes of them.
TEST_P(GatedGemm, HasTheBitsOfTwoProductsAndTheirUnits) {
  const auto& [row, shape] = GetParam();
  const GemmData data(shape);
  for (const Unit& unit : {Unit{}, Unit{UnitKind::gelu, 1, 0.5f, 1.5f}}) {
    Guarded<float> c(static_cast<Index>(data.c.size()));
    std::copy(data.c.begin(), data.c.end(), c.data());
    Gemm args = data.args(c.data(), row.precision);
    args.unit = unit;
    row.variant.call(args, {});
    std::vector<float> g = data.c, u = data.c;
    Gemm one = data.args(g.data(), row.precision);
    one.b = one.gate, one.gate = {};
    row.variant.call(one, {});
    one = data.args(u.data(), row.precision);
    one.gate = {};
    row.variant.call(one, {});
    const auto rows = [&](std::vector<float>& x) {
      return View<float, 2>{x.data(), {shape.m, shape.n}, {data.c_stride, 1}};
    };
    select(gated_variants(), {row.variant.isa}).call({rows(g), rows(u), unit, rows(u)}, {});
    EXPECT_EQ(c.values(), u);
  }
}

// silu's slope is below 1.1 and |silu(g)| <= |g|, so that h is off by at most 2.1 tolerances of the
// sums' sizes, and by what the unit itself rounds.
TEST_P(GatedGemm, MatchesReference) {
  const auto& [row, shape] = GetParam();
  const GemmData data(shape);
  const Variant<Gemm>& reference = gemm_variants(row.precision).front();
  const std::vector<float> want = product(data, row.precision, reference);
  GemmData of_size = data.sizes();
  std::vector<float> scale = of_size.c, u = of_size.c;
  Gemm one = of_size.args(scale.data(), row.precision);
  one.b = one.gate, one.gate = {};
  reference.call(one, {});
  one = of_size.args(u.data(), row.precision);
  one.gate = {};
  reference.call(one, {});
  for (Index i = 0; i < shape.m; ++i)
    for (Index j = 0; j < shape.n; ++j) {
      const auto at = static_cast<std::size_t>(i * data.c_stride + j);
      scale[at] *= u[at];
    }
  EXPECT_LE(worst_error(product(data, row.precision, row.variant), want, scale,
                        2.1 * gemm_tolerance(shape.k) + 8 * kRounding),
            1);
}

INSTANTIATE_TEST_SUITE_P(All, GatedGemm,
                         ::testing::Combine(::testing::ValuesIn(rows()),
                                            ::testing::ValuesIn(gated_cases())),
                         print);

Gemm two_by_two(const float* a, const float* b, float* c) {
  Gemm g;
  g.m = g.n = g.k = 2;
  g.a = {a, 2}, g.b = {b, 2};
  g.c = c, g.c_stride = 2;
  return g;
}

TEST(Gemm, FinishesInTheOrderOfItsContract) {
  const float a[] = {1, 0, 0, 1}, b[] = {1, 3, 2, -4}, bias[] = {1, 2}, factor[] = {2, 3, 4, 5},
              scale[] = {10, 100};
  Gemm g = two_by_two(a, b, nullptr);
  g.finish = {.accumulate = true,
              .bias = bias,
              .activation = Activation::relu,
              .factor = factor,
              .factor_stride = 2,
              .row_scale = scale};
  for (const Isa isa : all_isas()) {
    if (!supported(isa)) continue;
    float c[] = {1, 1, -9, 1};
    g.c = c;
    gemm(g, {isa});
    // (1 + 1 + 1) * 2 * 10, (1 + 2 + 2) * 3 * 10, relu(-9 + 3 + 1), relu(1 - 4 + 2)
    EXPECT_EQ(std::vector<float>(c, c + 4), (std::vector<float>{60, 150, 0, 0})) << name(isa);
  }
}

// Of rows that fill vectors, or nearly: others sum in lanes where b lies in memory.
TEST(Gemm, BLaidOutBeforehandGivesTheSameBits) {
  const GemmBlocking cut = largest_blocking();
  struct Size {
    Index m, n, k;
  };
  for (const Size& s : {Size{23, 1, 1},
                        {24, 33, 40},
                        {70, 200, 83},
                        {31, 40, 0},
                        {23, cut.columns + 37, 2 * cut.depth + 5}})
    for (const Rows layout : {Rows::outer, Rows::inner})
      for (const Type type : {Type::f32, Type::bf16}) {
        GemmCase shape{s.m, s.n, s.k, Rows::outer, layout};
        shape.b_type = type;
        const GemmData data(shape);
        for (const Isa isa : all_isas()) {
          if (!supported(isa)) continue;
          const Variant<Gemm>& variant = select(gemm_variants(Precision::f32), {isa});
          std::vector<float> c = data.c;
          Gemm g = data.args(c.data(), Precision::f32);
          Guarded<float> panels(gemm_packed_b_floats(g));
          gemm_pack_b({g, panels.data()}, {isa});
          g.b = {.panels = panels.data()};
          gemm(g, {isa});
          EXPECT_EQ(c, product(data, Precision::f32, variant)) << name(isa) << " n " << s.n;
        }
      }
}

TEST(Gemm, RefusesWhatCannotBeMultiplied) {
  const float a[4] = {}, b[4] = {};
  float c[4] = {};
  const auto refused = [&](const auto& change) {
    Gemm g = two_by_two(a, b, c);
    change(g);
    EXPECT_THROW(gemm(g, {}), Error);
  };
  refused([](Gemm& g) { g.k = -1; });
  refused([](Gemm& g) { g.a.data = nullptr; });
  refused([](Gemm& g) { g.b.stride = 1; });
  refused([&](Gemm& g) { g.a.scale = a; });
  refused([](Gemm& g) { g.c_stride = 1; });
  refused([](Gemm& g) { g.a = {.source = {PlainSource::fill, nullptr}}; });
  refused([](Gemm& g) { g.b.source = {PlainSource::fill, nullptr}; });
  refused([&](Gemm& g) { g.a = {.panels = a}; });
  refused([&](Gemm& g) { g.b = {.panels = b}, g.precision = Precision::bf16; });
  refused([&](Gemm& g) { g.gate = {b, 2}, g.finish.accumulate = true; });
  refused([&](Gemm& g) { g.gate = {b, 2, Rows::inner}; });
  refused([&](Gemm& g) { g.gate = {b, 2}, g.gate.type = Type::bf16; });
  refused([&](Gemm& g) { g.gate = {b, 2}, g.b = {.panels = b}; });
}

TEST(Halves, ConvertAsTheirFormatsSay) {
  EXPECT_EQ(from_f16(0x3c00), 1);
  EXPECT_EQ(from_f16(0xfbff), -65504);
  EXPECT_EQ(from_f16(0x0001), 0x1p-24f);
  EXPECT_EQ(from_f16(0x7c00), INFINITY);
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = from_f16(static_cast<F16>(bits));
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(from_f16(to_f16(value))));
    else
      EXPECT_EQ(to_f16(value), bits);
  }
  // Ties go to even, also where a result is subnormal or infinite.
  EXPECT_EQ(to_f16(1 + 0x1p-11f), 0x3c00);
  EXPECT_EQ(to_f16(1 + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(to_f16(0x1p-25f), 0);
  EXPECT_EQ(to_f16(3 * 0x1p-25f), 2);
  EXPECT_EQ(to_f16(65519), 0x7bff);
  EXPECT_EQ(to_f16(65520), 0x7c00);
}

}  // namespace
}  // namespace mote::kernels
