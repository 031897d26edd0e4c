#include "kernels/packed/q16_product/q16_product.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/packed/q16_product/q16_product_cases.h"

namespace mote::kernels {
namespace {

std::vector<float> run_product(const Q16ProductData& data, const Variant<Q16Product>& variant,
                               const Run& run = {}) {
  Guarded<float> y(data.in.rows() * data.in.shape.rows);
  std::vector<float> scratch = data.scratch();
  variant.call({data.w.encoded.view(), data.in.inputs(data.in.shape.columns), data.in.ends_view(),
                view(y.data(), data.in.rows(), data.in.shape.rows),
                view(scratch.data(), static_cast<Index>(scratch.size()))},
               run);
  return y.values();
}

std::vector<float> run_to_input(const Q16ProductData& data,
                                const Variant<Q16ProductToInput>& variant, const Run& run = {}) {
  Guarded<float> dx(data.in.rows() * data.in.shape.columns);
  std::vector<float> scratch = data.scratch();
  variant.call({data.w.encoded.view(), data.in.inputs(data.in.shape.rows), data.in.ends_view(),
                view(dx.data(), data.in.rows(), data.in.shape.columns),
                view(scratch.data(), static_cast<Index>(scratch.size()))},
               run);
  return dx.values();
}

// |error| <= 1e-5 * sum |w x|: a sum of n products has rounding errors of about sqrt(n) / 2 units
// of 6e-8 of that sum, n up to 9000 here; the bound is twice that.
constexpr double kTolerance = 1e-5;

template <class Args>
class Q16Variant : public ::testing::TestWithParam<std::tuple<Variant<Args>, ProductCase>> {
 protected:
  void SetUp() override {
    if (!supported(variant().isa)) GTEST_SKIP() << "no " << name(variant().isa) << " here";
  }
  const Variant<Args>& variant() const { return std::get<0>(this->GetParam()); }
  Q16ProductData data() const { return Q16ProductData(std::get<1>(this->GetParam()), 17); }
};

template <class Info>
std::string print(const Info& info) {
  return std::string(name(std::get<0>(info.param).isa)) + "_" + case_name(std::get<1>(info.param));
}

using Q16ProductVariant = Q16Variant<Q16Product>;
using Q16ToInputVariant = Q16Variant<Q16ProductToInput>;

TEST_P(Q16ProductVariant, MatchesTheDenseProduct) {
  const Q16ProductData made = data();
  const std::vector<float> y = run_product(made, variant());
  EXPECT_LE(worst_error(made.in, made.dense(), y, false, kTolerance), 1);
}

TEST_P(Q16ProductVariant, HasTheSameBitsForAnyThreads) {
  const Q16ProductData made = data();
  const ThreadPool pool(3);
  EXPECT_EQ(run_product(made, variant()), run_product(made, variant(), {Isa::amx, &pool}));
}

TEST_P(Q16ToInputVariant, MatchesTheDenseProduct) {
  const Q16ProductData made = data();
  const std::vector<float> dx = run_to_input(made, variant());
  EXPECT_LE(worst_error(made.in, made.dense(), dx, true, kTolerance), 1);
}

TEST_P(Q16ToInputVariant, HasTheSameBitsForAnyThreads) {
  const Q16ProductData made = data();
  const ThreadPool pool(3);
  EXPECT_EQ(run_to_input(made, variant()), run_to_input(made, variant(), {Isa::amx, &pool}));
}

INSTANTIATE_TEST_SUITE_P(All, Q16ProductVariant,
                         ::testing::Combine(::testing::ValuesIn(q16_product_variants().begin(),
                                                                q16_product_variants().end()),
                                            ::testing::ValuesIn(product_cases())),
                         [](const auto& each) { return print(each); });
INSTANTIATE_TEST_SUITE_P(
    All, Q16ToInputVariant,
    ::testing::Combine(::testing::ValuesIn(q16_product_to_input_variants().begin(),
                                           q16_product_to_input_variants().end()),
                       ::testing::ValuesIn(product_cases())),
    [](const auto& each) { return print(each); });

// Each row alone and as a part of any batch: the same bits, since a sum's order is fixed.
TEST(Q16ProductBatch, RowsAreThoseOfSingleTokens) {
  for (const Variant<Q16Product>& variant : q16_product_variants()) {
    if (!supported(variant.isa)) continue;
    const Q16ProductData all({1, 70, 333, 0.8, {37}}, 3);
    const std::vector<float> batch = run_product(all, variant);
    for (Index count : {1, 2, 3, 5, 8, 9, 15, 16, 17}) {
      Q16ProductData some = all;
      some.in.ends[0] = static_cast<std::int32_t>(count);
      const std::vector<float> y = run_product(some, variant);
      EXPECT_TRUE(std::equal(y.begin(), y.end(), batch.begin()))
          << name(variant.isa) << ", " << count << " of 37 rows";
    }
  }
}

TEST(Q16ProductBatch, VectorVariantsAgreeInEveryBit) {
  if (!supported(Isa::avx512)) GTEST_SKIP() << "no avx512 here";
  const auto variants = q16_product_variants();
  const Q16ProductData made({2, 70, 333, 0.8, {20, 1}}, 3);
  ASSERT_EQ(variants.size(), 3u);
  EXPECT_EQ(run_product(made, variants[1]), run_product(made, variants[2]));
}

// Levels have 8 significant bits and counts are small, so every partial sum is exact.
TEST(Q16ProductOfOnes, CountsTheWeights) {
  for (const Variant<Q16Product>& variant : q16_product_variants()) {
    if (!supported(variant.isa)) continue;
    for (Index tokens : {1, 16}) {
      Q16ProductData made =
          Q16ProductData({1, 40, 2081, 0.5, {static_cast<std::int32_t>(tokens)}}, 8);
      std::fill(made.in.x.begin(), made.in.x.end(), 1.0f);
      const std::vector<float> y = run_product(made, variant);
      for (Index o = 0; o < 40; ++o) {
        const std::uint8_t* row = made.w.trits_ERC.data() + o * 2081;
        const Q16Matrix w = made.w.encoded.view().expert(0);
        const double want =
            static_cast<double>(w.minimum(o)) *
                static_cast<double>(std::count(row, row + 2081, 1)) +
            static_cast<double>(w.maximum(o)) * static_cast<double>(std::count(row, row + 2081, 2));
        EXPECT_NEAR(y[static_cast<std::size_t>(o)], want, 1e-6 * 2081) << name(variant.isa);
      }
    }
  }
}

TEST(Q16ProductRefuses, ShapesThatDisagree) {
  const Q16ProductData made({2, 8, 10, 0.5, {1, 2}}, 1);
  std::vector<float> y(24), scratch = made.scratch();
  const auto args = [&] {
    return Q16Product{made.w.encoded.view(), made.in.inputs(10), made.in.ends_view(),
                      view(y.data(), Index{3}, Index{8}),
                      view(scratch.data(), static_cast<Index>(scratch.size()))};
  };
  EXPECT_NO_THROW(q16_product(args(), {}));
  const std::int32_t falling[] = {2, 1}, late[] = {1, 4};
  for (const auto& spoil : std::vector<std::function<void(Q16Product&)>>{
           [](Q16Product& a) { a.x_RI.sizes[1] = 9; }, [](Q16Product& a) { a.y_RO.sizes[1] = 7; },
           [](Q16Product& a) { a.y_RO.sizes[0] = 2; }, [](Q16Product& a) { a.ends_E.sizes[0] = 1; },
           [&](Q16Product& a) { a.ends_E.data = falling; },
           [&](Q16Product& a) { a.ends_E.data = late; },
           [](Q16Product& a) { a.x_RI.strides[1] = 2; },
           [](Q16Product& a) { a.scratch.sizes[0] = 10; }}) {
    Q16Product spoiled = args();
    spoil(spoiled);
    EXPECT_THROW(q16_product(spoiled, {}), Error);
  }
}

}  // namespace
}  // namespace mote::kernels
