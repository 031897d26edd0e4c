#include "model/parameters.h"

#include "tests/support/models.h"

namespace mote::model {
namespace {

TEST(NormalizeRows, VectorF) {
  const Tensor w =
      torch::tensor({3., 4., 0., 1., 0., 0., 0., 2., -2.}, torch::kFloat64).view({3, 3});
  const Tensor n = normalize_rows(w);
  testing::expect_values(n, {2.025264, 2.700352, 0, 3.375440, 0, 0, 0, 2.386797, -2.386797}, 1e-6);
  EXPECT_NEAR(w.std().item<double>(), 1.833333, 1e-6);
  EXPECT_NEAR(n.std().item<double>(), 1.833333, 1e-6);
  testing::expect_values(n.norm(2, -1), {3.375440, 3.375440, 3.375440}, 1e-6);
}

TEST(InitialValues, HaveTheStatedSpread) {
  const auto std_of = [](Init::Kind kind, double value) {
    return initial_values({200, 300}, {kind, value}, "w", 1).std().item<double>();
  };
  EXPECT_NEAR(std_of(Init::Kind::normal, 0.3), 0.3, 0.005);
  EXPECT_NEAR(std_of(Init::Kind::exact_normal, 0.3), 0.3, 1e-6);
  EXPECT_NEAR(std_of(Init::Kind::uniform, 0.3), 0.3 / std::sqrt(3.0), 0.005);
  const Tensor rows = initial_values({20, 300}, {Init::Kind::row_normalized, 0.3}, "w", 1);
  const Tensor norms = rows.norm(2, -1);
  EXPECT_NEAR(norms.max().item<double>(), norms.min().item<double>(), 1e-4);
}

TEST(InitialValues, AreCutAtTwoDeviationsBeforeScaling) {
  const Tensor x = initial_values({400, 400}, {Init::Kind::exact_normal, 1.0}, "w", 1);
  // A normal variable cut at +-2 has standard deviation 0.87963.
  EXPECT_NEAR(x.abs().max().item<double>(), 2 / 0.87963, 0.01);
}

TEST(InitialValues, DependOnTheNameAndTheSeedAlone) {
  const Init init{Init::Kind::normal, 1};
  EXPECT_TRUE(initial_values({5}, init, "a", 1).equal(initial_values({5}, init, "a", 1)));
  EXPECT_FALSE(initial_values({5}, init, "a", 1).equal(initial_values({5}, init, "b", 1)));
  EXPECT_FALSE(initial_values({5}, init, "a", 1).equal(initial_values({5}, init, "a", 2)));
}

}  // namespace
}  // namespace mote::model
