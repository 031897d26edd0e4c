#include "kernels/packed/q16_product_a8/q16_product_a8.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/packed/q16_product/q16_product_cases.h"

namespace mote::kernels {
namespace {

std::vector<float> run(const Q16ProductData& data, const Variant<Q16ProductA8>& variant,
                       const Run& how = {}) {
  Guarded<float> y(data.in.rows() * data.in.shape.rows);
  std::vector<std::byte> scratch(
      static_cast<std::size_t>(q16_a8_scratch(data.in.rows(), data.in.shape.columns)));
  variant.call({data.w.encoded.view(), data.in.inputs(data.in.shape.columns), data.in.ends_view(),
                view(y.data(), data.in.rows(), data.in.shape.rows),
                view(scratch.data(), static_cast<Index>(scratch.size()))},
               how);
  return y.values();
}

class Q16A8Variant
    : public ::testing::TestWithParam<std::tuple<Variant<Q16ProductA8>, ProductCase>> {
 protected:
  void SetUp() override {
    if (!supported(variant().isa)) GTEST_SKIP() << "no " << name(variant().isa) << " here";
  }
  const Variant<Q16ProductA8>& variant() const { return std::get<0>(GetParam()); }
  Q16ProductData data() const { return {std::get<1>(GetParam()), 17}; }
};

// The sums are whole numbers and exact; two products, a sum and the scale are rounded after them.
TEST_P(Q16A8Variant, MatchesTheReference) {
  const Q16ProductData made = data();
  const std::vector<float> got = run(made, variant());
  const std::vector<float> want = run(made, q16_product_a8_variants()[0]);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 4e-7 * static_cast<double>(made.in.shape.columns)) << i;
}

// Each activation is off by half a step of its row at most.
TEST_P(Q16A8Variant, IsWithinHalfAStepPerWeight) {
  const Q16ProductData made = data();
  const Index rows = made.in.shape.rows, columns = made.in.shape.columns;
  const std::vector<float> y = run(made, variant()), dense = made.dense();
  Index r = 0;
  for (Index e = 0; e < made.in.shape.experts; ++e)
    for (; r < made.in.ends[static_cast<std::size_t>(e)]; ++r) {
      const float* x = made.in.inputs(columns).row(r);
      double largest = 0;
      for (Index i = 0; i < columns; ++i)
        largest = std::max(largest, std::abs(static_cast<double>(x[i])));
      for (Index o = 0; o < rows; ++o) {
        double sum = 0, magnitude = 0;
        for (Index i = 0; i < columns; ++i) {
          const auto weight =
              static_cast<double>(dense[static_cast<std::size_t>((e * rows + o) * columns + i)]);
          sum += weight * static_cast<double>(x[i]);
          magnitude += std::abs(weight);
        }
        EXPECT_NEAR(y[static_cast<std::size_t>(r * rows + o)], sum,
                    1.001 * largest / 254 * magnitude + 1e-6);
      }
    }
}

TEST_P(Q16A8Variant, HasTheSameBitsForAnyThreads) {
  const Q16ProductData made = data();
  const ThreadPool pool(3);
  EXPECT_EQ(run(made, variant()), run(made, variant(), {Isa::amx, &pool}));
}

TEST_P(Q16A8Variant, RowsAreThoseOfSingleTokens) {
  const Q16ProductData all = data();
  const std::vector<float> batch = run(all, variant());
  if (all.in.shape.experts != 1 || batch.empty()) return;
  Q16ProductData one = all;
  one.in.ends[0] = 1;
  const std::vector<float> y = run(one, variant());
  EXPECT_TRUE(std::equal(y.begin(), y.end(), batch.begin()));
}

INSTANTIATE_TEST_SUITE_P(All, Q16A8Variant,
                         ::testing::Combine(::testing::ValuesIn(q16_product_a8_variants().begin(),
                                                                q16_product_a8_variants().end()),
                                            ::testing::ValuesIn(product_cases())),
                         [](const auto& each) {
                           return std::string(name(std::get<0>(each.param).isa)) + "_" +
                                  case_name(std::get<1>(each.param));
                         });

// Sums of over 258 activations of 127 leave 16 bits.
TEST(Q16ProductA8, LongRowsOfEqualSignsDoNotOverflow) {
  for (const auto& variant : q16_product_a8_variants()) {
    if (!supported(variant.isa)) continue;
    Q16ProductData made({1, 2, 4001, 0, {3}}, 2);
    std::fill(made.in.x.begin(), made.in.x.end(), 1.0f);
    const std::vector<float> y = run(made, variant);
    const Q16Matrix w = made.w.encoded.view().expert(0);
    const auto row = made.w.trits_ERC.begin();
    const double want =
        static_cast<double>(w.minimum(0)) * static_cast<double>(std::count(row, row + 4001, 1)) +
        static_cast<double>(w.maximum(0)) * static_cast<double>(std::count(row, row + 4001, 2));
    EXPECT_NEAR(y[0], want, 1e-6 * 4001) << name(variant.isa);
  }
}

TEST(Q16ProductA8, OfZerosIsZero) {
  for (const auto& variant : q16_product_a8_variants()) {
    if (!supported(variant.isa)) continue;
    Q16ProductData made({1, 5, 40, 0.5, {2}}, 2);
    std::fill(made.in.x.begin(), made.in.x.end(), 0.0f);
    EXPECT_EQ(run(made, variant), std::vector<float>(10, 0.0f)) << name(variant.isa);
  }
}

TEST(Q16ProductA8, RefusesTooLittleScratch) {
  const Q16ProductData made({1, 5, 40, 0.5, {2}}, 2);
  std::vector<float> y(10);
  std::byte scratch[64];
  EXPECT_THROW(q16_product_a8({made.w.encoded.view(), made.in.inputs(40), made.in.ends_view(),
                               view(y.data(), Index{2}, Index{5}), view(scratch, Index{64})},
                              {}),
               Error);
}

}  // namespace
}  // namespace mote::kernels
