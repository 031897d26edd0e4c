#include "kernels/sequence/norm/norm.h"

#include <gtest/gtest.h>

#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

struct NormCase {
  Index rows, columns;
  double offset = 0;  // added to every entry: what the variance must not see
  bool rms = false;   // with a weight that is stored less 1, and no bias
};

std::string case_name(const NormCase& c) {
  return word("rows", c.rows) + word("_columns", c.columns) +
         word("_offset", static_cast<Index>(c.offset)) + (c.rms ? "_rms" : "");
}

std::vector<NormCase> cases() {
  std::vector<NormCase> all = {{0, 8}, {200, 256}, {65, 412, 3}, {3, 64, 30}};
  for (Index columns : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33}) all.push_back({3, columns, 1});
  for (Index columns : {1, 8, 13, 33, 576}) all.push_back({70, columns, 1, true});
  return all;
}

struct Inputs {
  NormCase shape;
  std::vector<float> x, dy, weight, bias;
  explicit Inputs(const NormCase& c)
      : shape(c),
        x(normals(c.rows * c.columns, 1)),
        dy(normals(c.rows * c.columns, 2)),
        weight(normals(c.columns, 3)),
        bias(normals(c.columns, 4)) {
    for (float& each : x) each += static_cast<float>(c.offset);
  }
  View<const float, 2> rows(const std::vector<float>& data) const {
    return view(data.data(), shape.rows, shape.columns);
  }
};

struct Outputs {
  std::vector<float> y, mean, rstd, dx, dweight, dbias;
};

Outputs run(const Inputs& in, Isa ceiling, const Executor& executor = serial()) {
  const Index n = in.shape.rows, d = in.shape.columns;
  Guarded<float> y(n * d), mean(n), rstd(n), dx(n * d), dweight(d), dbias(d);
  const Run how{ceiling, &executor};
  LayerNorm forward{in.rows(in.x),        in.weight.data(), in.bias.data(), 1e-5f,
                    view(y.data(), n, d), mean.data(),      rstd.data()};
  LayerNormBackward backward{in.rows(in.x), in.rows(in.dy),        in.weight.data(), mean.data(),
                             rstd.data(),   view(dx.data(), n, d), dweight.data(),   dbias.data()};
  if (in.shape.rms) {
    forward.centred = backward.centred = false;
    forward.weight_offset = backward.weight_offset = 1;
    forward.bias_D = nullptr;
    backward.dbias_D = nullptr;
    std::fill_n(dbias.data(), d, 0.0f);
  }
  layer_norm(forward, how);
  layer_norm_backward(backward, how);
  return {y.values(), mean.values(), rstd.values(), dx.values(), dweight.values(), dbias.values()};
}

double largest(const std::vector<float>& x) {
  double most = 1;
  for (const float each : x) most = std::max(most, static_cast<double>(std::abs(each)));
  return most;
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want, double tolerance,
                  const char* what) {
  const std::vector<float> scale(want.size(), static_cast<float>(largest(want)));
  EXPECT_LE(worst_error(got, want, scale, tolerance), 1) << what;
}

using NormVariant = VariantTest<Isa, NormCase>;

TEST_P(NormVariant, MatchesReference) {
  const auto& [isa, shape] = GetParam();
  const Inputs in(shape);
  const Outputs got = run(in, isa), want = run(in, Isa::reference);
  // Sums of D entries in lanes of 8, of entries as large as the offset; rstd multiplies the error
  // of the mean.
  const double tolerance = (static_cast<double>(shape.columns) / 8 + 16) * (1 + shape.offset) *
                           largest(want.rstd) * kRounding;
  expect_close(got.y, want.y, tolerance, "y");
  expect_close(got.mean, want.mean, tolerance, "mean");
  expect_close(got.rstd, want.rstd, tolerance, "rstd");
  expect_close(got.dx, want.dx, tolerance, "dx");
  // Sums over rows besides.
  const double summed = tolerance + static_cast<double>(shape.rows) * kRounding;
  expect_close(got.dweight, want.dweight, summed, "dweight");
  expect_close(got.dbias, want.dbias, summed, "dbias");
}

INSTANTIATE_TEST_SUITE_P(All, NormVariant,
                         ::testing::Combine(::testing::ValuesIn(all_isas()),
                                            ::testing::ValuesIn(cases())),
                         [](const auto& each) { return print_variant_case(each); });

// x = (3, 4): rms = sqrt(12.5).
TEST(Norm, RmsNormDividesByTheRootOfTheMeanSquare) {
  const std::vector<float> x = {3, 4}, weight = {0, 1};
  std::vector<float> y(2), mean(1), rstd(1);
  LayerNorm args{view(x.data(), 1, 2), weight.data(), nullptr, 0, view(y.data(), 1, 2),
                 mean.data(),          rstd.data(),   false,   1};
  for (const Isa isa : all_isas()) {
    layer_norm(args, {isa, &serial()});
    EXPECT_NEAR(y[0], 3 / std::sqrt(12.5), 1e-6);
    EXPECT_NEAR(y[1], 2 * 4 / std::sqrt(12.5), 1e-6);
    EXPECT_EQ(mean[0], 0);
  }
}

TEST(Norm, GradientsOfAnRmsNormAreFiniteDifferences) {
  const Index n = 2, d = 5;
  const Inputs in({n, d, 0, true});
  const Outputs got = run(in, Isa::reference);
  const auto loss = [&](const Inputs& at) {
    const Outputs out = run(at, Isa::reference);
    double sum = 0;
    for (std::size_t i = 0; i < out.y.size(); ++i)
      sum += static_cast<double>(out.y[i]) * static_cast<double>(in.dy[i]);
    return sum;
  };
  const auto slope = [&](std::vector<float> Inputs::*of, std::size_t i) {
    constexpr float kStep = 1e-2f;
    Inputs up = in, down = in;
    (up.*of)[i] += kStep;
    (down.*of)[i] -= kStep;
    return (loss(up) - loss(down)) / (2 * static_cast<double>(kStep));
  };
  for (std::size_t i = 0; i < in.x.size(); ++i) EXPECT_NEAR(got.dx[i], slope(&Inputs::x, i), 2e-3);
  for (std::size_t i = 0; i < in.weight.size(); ++i)
    EXPECT_NEAR(got.dweight[i], slope(&Inputs::weight, i), 2e-3);
}

TEST(Norm, ThreadsDoNotChangeABit) {
  const Inputs in({333, 40});
  const ThreadPool pool(3);
  const Outputs one = run(in, Isa::amx), three = run(in, Isa::amx, pool);
  EXPECT_EQ(one.y, three.y);
  EXPECT_EQ(one.dx, three.dx);
  EXPECT_EQ(one.dweight, three.dweight);
  EXPECT_EQ(one.dbias, three.dbias);
}

}  // namespace
}  // namespace mote::kernels
