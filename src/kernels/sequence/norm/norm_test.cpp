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
};

std::string case_name(const NormCase& c) {
  return word("rows", c.rows) + word("_columns", c.columns) +
         word("_offset", static_cast<Index>(c.offset));
}

std::vector<NormCase> cases() {
  std::vector<NormCase> all = {{0, 8}, {200, 256}, {65, 412, 3}, {3, 64, 30}};
  for (Index columns : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33}) all.push_back({3, columns, 1});
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
  layer_norm({in.rows(in.x), in.weight.data(), in.bias.data(), 1e-5f, view(y.data(), n, d),
              mean.data(), rstd.data()},
             how);
  layer_norm_backward({in.rows(in.x), in.rows(in.dy), in.weight.data(), mean.data(), rstd.data(),
                       view(dx.data(), n, d), dweight.data(), dbias.data()},
                      how);
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
