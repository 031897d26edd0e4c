#include "kernels/packed/two_bit_product/two_bit_product.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/packed/sorted_rows_cases.h"
#include "kernels/packed/two_bit/two_bit_cases.h"

namespace mote::kernels {
namespace {

// |error| <= 1e-5 * sum |w x|: weights are exact, and the rounding errors of n additions are about
// sqrt(n) / 2 units of 6e-8 of that sum, n up to 9001 here.
constexpr double kTolerance = 1e-5;

struct Data {
  SortedInputs in;
  TwoBitRandom w;
  Data(const ProductCase& shape, std::uint64_t seed)
      : in(shape, seed), w(shape.experts, shape.rows, shape.columns, seed) {}
};

template <class Args>
std::vector<float> run(const Data& data, const Variant<Args>& variant, const Run& how = {}) {
  constexpr bool kForward = std::is_same_v<Args, TwoBitProduct>;
  const Index in = kForward ? data.in.shape.columns : data.in.shape.rows;
  const Index out = kForward ? data.in.shape.rows : data.in.shape.columns;
  Guarded<float> y(data.in.rows() * out);
  variant.call(
      {data.w.view(), data.in.inputs(in), data.in.ends_view(), view(y.data(), data.in.rows(), out)},
      how);
  return y.values();
}

template <class Args>
class TwoBitVariant : public ::testing::TestWithParam<std::tuple<Variant<Args>, ProductCase>> {
 protected:
  void SetUp() override {
    if (!supported(variant().isa)) GTEST_SKIP() << "no " << name(variant().isa) << " here";
  }
  const Variant<Args>& variant() const { return std::get<0>(this->GetParam()); }
  Data data() const { return {std::get<1>(this->GetParam()), 17}; }

  void expect_dense_product(bool to_input) const {
    const Data made = data();
    const std::vector<float> y = run(made, variant());
    EXPECT_LE(worst_error(made.in, made.w.dense(), y, to_input, kTolerance), 1);
  }
  void expect_same_bits_for_any_threads() const {
    const Data made = data();
    const ThreadPool pool(3);
    EXPECT_EQ(run(made, variant()), run(made, variant(), {Isa::amx, &pool}));
  }
  void expect_rows_of_single_tokens() const {
    const Data all = data();
    const std::vector<float> batch = run(all, variant());
    if (all.in.shape.experts != 1 || batch.empty()) return;
    Data one = all;
    one.in.ends[0] = 1;
    const std::vector<float> y = run(one, variant());
    EXPECT_TRUE(std::equal(y.begin(), y.end(), batch.begin()));
  }
};

using TwoBitProductVariant = TwoBitVariant<TwoBitProduct>;
using TwoBitToInputVariant = TwoBitVariant<TwoBitProductToInput>;

TEST_P(TwoBitProductVariant, MatchesTheDenseProduct) {
  expect_dense_product(false);
}
TEST_P(TwoBitProductVariant, HasTheSameBitsForAnyThreads) {
  expect_same_bits_for_any_threads();
}
TEST_P(TwoBitProductVariant, RowsAreThoseOfSingleTokens) {
  expect_rows_of_single_tokens();
}
TEST_P(TwoBitToInputVariant, MatchesTheDenseProduct) {
  expect_dense_product(true);
}
TEST_P(TwoBitToInputVariant, HasTheSameBitsForAnyThreads) {
  expect_same_bits_for_any_threads();
}
TEST_P(TwoBitToInputVariant, RowsAreThoseOfSingleTokens) {
  expect_rows_of_single_tokens();
}

const auto print = [](const auto& each) {
  return std::string(name(std::get<0>(each.param).isa)) + "_" + case_name(std::get<1>(each.param));
};
template <class Args>
auto variants_and_cases(std::span<const Variant<Args>> variants) {
  return ::testing::Combine(::testing::ValuesIn(variants.begin(), variants.end()),
                            ::testing::ValuesIn(product_cases()));
}
INSTANTIATE_TEST_SUITE_P(All, TwoBitProductVariant, variants_and_cases(two_bit_product_variants()),
                         print);
INSTANTIATE_TEST_SUITE_P(All, TwoBitToInputVariant,
                         variants_and_cases(two_bit_product_to_input_variants()), print);

TEST(TwoBitProductRefuses, ShapesThatDisagree) {
  const Data made({2, 8, 10, 0, {1, 2}}, 1);
  std::vector<float> y(24);
  const auto args = [&] {
    return TwoBitProduct{made.w.view(), made.in.inputs(10), made.in.ends_view(),
                         view(y.data(), Index{3}, Index{8})};
  };
  EXPECT_NO_THROW(two_bit_product(args(), {}));
  const std::int32_t falling[] = {2, 1}, late[] = {1, 4};
  for (const auto& spoil : std::vector<std::function<void(TwoBitProduct&)>>{
           [](TwoBitProduct& a) { a.x_RI.sizes[1] = 9; },
           [](TwoBitProduct& a) { a.y_RO.sizes[1] = 7; },
           [](TwoBitProduct& a) { a.y_RO.sizes[0] = 2; },
           [](TwoBitProduct& a) { a.ends_E.sizes[0] = 1; },
           [&](TwoBitProduct& a) { a.ends_E.data = falling; },
           [&](TwoBitProduct& a) { a.ends_E.data = late; },
           [](TwoBitProduct& a) { a.x_RI.strides[1] = 2; }}) {
    TwoBitProduct spoiled = args();
    spoil(spoiled);
    EXPECT_THROW(two_bit_product(spoiled, {}), Error);
  }
}

}  // namespace
}  // namespace mote::kernels
