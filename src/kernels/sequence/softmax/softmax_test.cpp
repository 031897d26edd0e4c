#include "kernels/sequence/softmax/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

struct SoftmaxCase {
  Index begin, end, n;
  bool two_terms = false;
  double spread = 1;  // standard deviation of the scores
};

std::string case_name(const SoftmaxCase& c) {
  return word("from", c.begin) + word("_to", c.end) + word("_of", c.n) +
         (c.two_terms ? "_two_terms" : "") + word("_spread", static_cast<Index>(c.spread));
}

std::vector<SoftmaxCase> cases() {
  std::vector<SoftmaxCase> all = {{0, 1000, 1000, true, 3}, {3, 40, 77, true, 100}};
  for (Index seen : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33})
    for (const bool two_terms : {false, true}) {
      all.push_back({0, seen, seen, two_terms, 1});
      all.push_back({5, 5 + seen, seen + 12, two_terms, 10});
    }
  return all;
}

constexpr float kScale = 0.3f;

struct Data {
  SoftmaxCase shape;
  std::vector<float> x, y, dp;

  explicit Data(const SoftmaxCase& c)
      : shape(c), x(normals(c.n, 1, c.spread)), y(normals(c.n, 2, c.spread)), dp(normals(c.n, 3)) {}
  const float* second() const { return shape.two_terms ? y.data() : nullptr; }
  // A logit is off by three roundings of the largest one, and so is what is subtracted from it; an
  // exponential by 4; their sum by one each.
  double tolerance() const {
    double largest = 0;
    for (Index j = shape.begin; j < shape.end; ++j) {
      const auto i = static_cast<std::size_t>(j);
      largest = std::max(largest, std::abs(static_cast<double>(x[i])) +
                                      (second() ? std::abs(static_cast<double>(y[i])) : 0));
    }
    return (6 * static_cast<double>(kScale) * largest +
            static_cast<double>(shape.end - shape.begin) + 8) *
           kRounding;
  }
};
// Below this, exponentials are 0 or clamped.
constexpr double kSmallest = 2e-38;

struct Forward {
  std::vector<float> x;
  float lse = 0;
};

Forward forward(const Data& data, const Variant<SoftmaxRow>& variant) {
  const SoftmaxCase& s = data.shape;
  Guarded<float> x(s.n);
  std::copy(data.x.begin(), data.x.end(), x.data());
  Forward result;
  variant.call({x.data(), data.second(), s.begin, s.end, s.n, kScale, &result.lse}, {});
  result.x = x.values();
  return result;
}

struct Backward {
  std::vector<float> x, dp;
  float dscale = 0.5f;  // added to
};

Backward backward(const Data& data, float lse, const Variant<SoftmaxBackwardRow>& variant) {
  const SoftmaxCase& s = data.shape;
  Guarded<float> x(s.n), dp(s.n);
  std::copy(data.x.begin(), data.x.end(), x.data());
  std::copy(data.dp.begin(), data.dp.end(), dp.data());
  Backward result;
  variant.call(
      {x.data(), data.second(), dp.data(), s.begin, s.end, s.n, kScale, lse, &result.dscale}, {});
  result.x = x.values();
  result.dp = dp.values();
  return result;
}

template <class Args>
using SoftmaxVariant = VariantTest<Args, SoftmaxCase>;
using SoftmaxForward = SoftmaxVariant<SoftmaxRow>;

TEST_P(SoftmaxForward, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const Data data(shape);
  const Forward got = forward(data, variant), want = forward(data, softmax_row_variants().front());
  EXPECT_LE(worst_error(got.x, want.x, want.x, data.tolerance(), kSmallest), 1);
  EXPECT_NEAR(got.lse, want.lse, data.tolerance());
}

TEST_P(SoftmaxForward, SumsToOneAndIsZeroOutside) {
  const auto& [variant, shape] = GetParam();
  const std::vector<float> x = forward(Data(shape), variant).x;
  double sum = 0;
  for (Index j = 0; j < shape.n; ++j) {
    const double p = static_cast<double>(x[static_cast<std::size_t>(j)]);
    sum += p;
    EXPECT_TRUE(p == 0 || (j >= shape.begin && j < shape.end)) << j << " has " << p;
  }
  EXPECT_NEAR(sum, 1, static_cast<double>(shape.n + 2) * kRounding);
}

INSTANTIATE_TEST_SUITE_P(All, SoftmaxForward,
                         ::testing::Combine(::testing::ValuesIn(softmax_row_variants().begin(),
                                                                softmax_row_variants().end()),
                                            ::testing::ValuesIn(cases())),
                         [](const auto& each) { return print_variant_case(each); });

using SoftmaxBackward = SoftmaxVariant<SoftmaxBackwardRow>;

TEST_P(SoftmaxBackward, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const Data data(shape);
  const float lse = forward(data, softmax_row_variants().front()).lse;
  const Backward got = backward(data, lse, variant),
                 want = backward(data, lse, softmax_backward_row_variants().front());
  EXPECT_LE(worst_error(got.x, want.x, want.x, data.tolerance(), kSmallest), 1);
  // |ds_j| <= p_j (|dp_j| + sum p |dp|), and dscale multiplies with the scores.
  double mean = 0;
  for (std::size_t j = 0; j < want.x.size(); ++j)
    mean += static_cast<double>(want.x[j]) * std::abs(static_cast<double>(data.dp[j]));
  std::vector<float> size(want.x.size());
  double dscale_size = 1;
  for (std::size_t j = 0; j < size.size(); ++j) {
    const double ds =
        static_cast<double>(want.x[j]) * (std::abs(static_cast<double>(data.dp[j])) + mean);
    size[j] = static_cast<float>(ds);
    dscale_size += ds * (std::abs(static_cast<double>(data.x[j])) +
                         (shape.two_terms ? std::abs(static_cast<double>(data.y[j])) : 0));
  }
  EXPECT_LE(worst_error(got.dp, want.dp, size, 2 * data.tolerance(), kSmallest), 1);
  EXPECT_NEAR(got.dscale, want.dscale, 2 * data.tolerance() * dscale_size);
}

INSTANTIATE_TEST_SUITE_P(
    All, SoftmaxBackward,
    ::testing::Combine(::testing::ValuesIn(softmax_backward_row_variants().begin(),
                                           softmax_backward_row_variants().end()),
                       ::testing::ValuesIn(cases())),
    [](const auto& each) { return print_variant_case(each); });

TEST(Softmax, NanScoresStayNan) {
  for (const Variant<SoftmaxRow>& variant : softmax_row_variants()) {
    if (!supported(variant.isa)) continue;
    std::vector<float> x(20, NAN);
    float lse = 0;
    variant.call({x.data(), nullptr, 2, 19, 20, 1, &lse}, {});
    for (std::size_t j = 2; j < 19; ++j)
      EXPECT_TRUE(std::isnan(x[j])) << name(variant.isa) << " at " << j;
  }
}

TEST(SoftmaxBackward, ANanLogSumExpStaysNan) {
  for (const Variant<SoftmaxBackwardRow>& variant : softmax_backward_row_variants()) {
    if (!supported(variant.isa)) continue;
    std::vector<float> x(20, 1), dp(20, 1);
    float dscale = 0;
    variant.call({x.data(), nullptr, dp.data(), 2, 19, 20, 1, NAN, &dscale}, {});
    for (std::size_t j = 2; j < 19; ++j)
      EXPECT_TRUE(std::isnan(x[j])) << name(variant.isa) << " at " << j;
  }
}

}  // namespace
}  // namespace mote::kernels
