#include "kernels/loss/cross_entropy/cross_entropy.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

struct CrossEntropyCase {
  Index n, target;
  double spread = 1;  // standard deviation of the logits
};

std::string case_name(const CrossEntropyCase& c) {
  return word("classes", c.n) + word("_target", c.target) +
         word("_spread", static_cast<Index>(c.spread));
}

std::vector<CrossEntropyCase> cases() {
  std::vector<CrossEntropyCase> all = {{32768, 100, 5}, {40, 3, 100}};
  for (Index n : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33}) {
    all.push_back({n, 0, 2});
    if (n > 1) all.push_back({n, n - 1, 10});
  }
  return all;
}

struct Result {
  std::vector<float> x;
  float loss = 0;
};

constexpr float kScale = 0.25f;

Result run(const CrossEntropyCase& c, const Variant<CrossEntropyRow>& variant, bool gradient) {
  const std::vector<float> logits = normals(c.n, 1, c.spread);
  Guarded<float> x(c.n);
  std::copy(logits.begin(), logits.end(), x.data());
  Result result;
  variant.call({x.data(), c.n, c.target, gradient, kScale, &result.loss}, {});
  result.x = x.values();
  return result;
}

using CrossEntropyVariant = VariantTest<Variant<CrossEntropyRow>, CrossEntropyCase>;

TEST_P(CrossEntropyVariant, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const Variant<CrossEntropyRow>& reference = cross_entropy_row_variants().front();
  const Result got = run(shape, variant, true), want = run(shape, reference, true);
  // A difference of logits is rounded once, an exponential is off by 4 roundings, a sum of n of
  // them by n / 8 at most, what follows by 4.
  const std::vector<float> x = absolute(normals(shape.n, 1, shape.spread));
  const double largest = 2 * static_cast<double>(*std::max_element(x.begin(), x.end()));
  const double tolerance = (largest + static_cast<double>(shape.n) / 8 + 12) * kRounding;
  EXPECT_NEAR(got.loss, want.loss, tolerance * std::max(1.0f, want.loss));
  // The target's gradient is a difference of p and 1.
  std::vector<float> size = absolute(want.x);
  size[static_cast<std::size_t>(shape.target)] = kScale;
  EXPECT_LE(worst_error(got.x, want.x, size, tolerance, 2e-38), 1);
}

TEST_P(CrossEntropyVariant, LeavesTheLogitsWithoutGradient) {
  const auto& [variant, shape] = GetParam();
  const Result with = run(shape, variant, true), without = run(shape, variant, false);
  EXPECT_EQ(without.x, normals(shape.n, 1, shape.spread));
  EXPECT_EQ(without.loss, with.loss);
}

INSTANTIATE_TEST_SUITE_P(
    All, CrossEntropyVariant,
    ::testing::Combine(::testing::ValuesIn(cross_entropy_row_variants().begin(),
                                           cross_entropy_row_variants().end()),
                       ::testing::ValuesIn(cases())),
    [](const auto& each) { return print_variant_case(each); });

TEST(CrossEntropy, IsTheLogOfTheClassesForEqualLogits) {
  for (const Variant<CrossEntropyRow>& variant : cross_entropy_row_variants()) {
    if (!supported(variant.isa)) continue;
    std::vector<float> x(50, 3.0f);
    float loss = 0;
    variant.call({x.data(), 50, 7, false, 1, &loss}, {});
    EXPECT_NEAR(loss, std::log(50.0), 1e-6) << name(variant.isa);
  }
}

TEST(CrossEntropy, NanInAnyLogitMakesTheLossNan) {
  for (const Variant<CrossEntropyRow>& variant : cross_entropy_row_variants()) {
    if (!supported(variant.isa)) continue;
    for (const std::size_t at : {0, 20, 49}) {
      std::vector<float> x(50, 1.0f);
      x[at] = NAN;
      float loss = 0;
      variant.call({x.data(), 50, 7, true, 1, &loss}, {});
      EXPECT_TRUE(std::isnan(loss)) << name(variant.isa) << " at " << at;
    }
  }
}

}  // namespace
}  // namespace mote::kernels
