#include "model/layers/dense_feed_forward.h"

#include "model/layers/mixture.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::fill;
using testing::fill_double;
using testing::run_layer;
using testing::Setter;
using testing::test_pass;
using Tensors = std::vector<Tensor>;

DenseFeedForward dense(std::int64_t dim, std::int64_t width, double dropout,
                       const Tensors& up_bias_down_bias) {
  DenseFeedForward layer(checkpoint::Dense{width}, dropout, {0, 1, dim, 1});
  const Tensors& w = up_bias_down_bias;
  Setter setter(
      {{"up.weight", w[0]}, {"up.bias", w[1]}, {"down.weight", w[2]}, {"down.bias", w[3]}});
  layer.visit("ff", setter);
  EXPECT_TRUE(setter.all_used());
  return layer;
}

// specs/sparse-ffn 2.1.
TEST(DenseFeedForward, EqualsTheNaiveExpressionAndItsGradients) {
  for (const std::int64_t rows : {1, 5, 40})
    testing::check_operation(
        [](const Tensors& f) {
          const DenseFeedForward layer = dense(6, 11, 0, {f[1], f[2], f[3], f[4]});
          return run_layer(layer, f[0], test_pass(true)).y_ND;
        },
        [](const Tensors& d) {
          return torch::relu(d[0].matmul(d[1].t()) + d[2]).matmul(d[3].t()) + d[4];
        },
        {fill_double(1, {rows, 6}), fill_double(2, {11, 6}), fill_double(3, {11}),
         fill_double(4, {6, 11}), fill_double(5, {6})});
}

TEST(DenseFeedForward, DropsHiddenUnitsInTrainingAlone) {
  // Every hidden unit is 1 and counts alike: the output is the share kept, scaled.
  const DenseFeedForward layer = dense(4, 2048, 0.4,
                                       {torch::zeros({2048, 4}), torch::ones({2048}),
                                        torch::full({4, 2048}, 1.0 / 2048), torch::zeros({4})});
  const Tensor x = fill(1, {10, 4});
  const double trained = run_layer(layer, x, test_pass(true)).y_ND.mean().item<double>();
  EXPECT_NEAR(trained, 1, 4 * std::sqrt(0.4 / 0.6 / 20'480));
  EXPECT_NE(trained, 1);
  testing::expect_close(run_layer(layer, x, test_pass()).y_ND, torch::ones({10, 4}), 1e-6);
}

// specs/sparse-ffn 7.3: with every expert chosen at gate 1 the mixture is the dense layer of all
// experts side by side.
TEST(DenseFeedForward, IsTheMixtureOfAllExpertsAtGateOne) {
  const std::int64_t experts = 3, width = 5, dim = 6;
  const Tensor up = fill(2, {experts, width, dim}), down = fill(3, {experts, dim, width});
  Mixture mixture({experts, width, {experts, 0, 0}}, {0, 1, dim, 1});
  // Scores of 40 have a gate of 1 in float32.
  Setter setter({{"router.weight", torch::full({experts, dim}, 40.0)},
                 {"experts.up", up},
                 {"experts.down", down}});
  mixture.visit("ff", setter);
  const DenseFeedForward layer =
      dense(dim, experts * width, 0,
            {up.reshape({experts * width, dim}), torch::zeros({experts * width}),
             down.permute({1, 0, 2}).reshape({dim, experts * width}), torch::zeros({dim})});
  const Tensor x = fill(1, {9, dim}).abs() + 0.5;
  testing::expect_close(run_layer(mixture, x, test_pass()).y_ND,
                        run_layer(layer, x, test_pass()).y_ND, 1e-6);
}

// specs/sparse-ffn vector B: the experts of vector A side by side, all hidden units and the three
// largest.
TEST(TopK, GivesVectorBOfTheSpecification) {
  const Tensor x = fill(1, {6, 4}), up = fill(2, {4, 4, 3}).transpose(1, 2).reshape({12, 4}),
               down = fill(3, {4, 3, 4}).reshape({12, 4}).t().contiguous();
  const Tensors weights = {up, torch::zeros({12}), down, torch::zeros({4})};
  const Tensor all = run_layer(dense(4, 12, 0, weights), x, test_pass()).y_ND;
  testing::expect_values(all[0], {-0.047709, -0.067256, -0.054299, -0.015101}, 2e-6);
  EXPECT_NEAR(all.sum().item<double>(), -0.376196, 2e-6);
  EXPECT_NEAR(all.square().sum().item<double>(), 0.041965, 2e-6);
  DenseFeedForward layer(checkpoint::TopK{12, 3}, 0, {0, 1, 4, 1});
  Setter setter({{"up.weight", weights[0]},
                 {"up.bias", weights[1]},
                 {"down.weight", weights[2]},
                 {"down.bias", weights[3]}});
  layer.visit("ff", setter);
  const Tensor kept = run_layer(layer, x, test_pass()).y_ND;
  testing::expect_values(kept[0], {-0.017045, -0.107996, -0.146755, -0.114591}, 2e-6);
  EXPECT_NEAR(kept.sum().item<double>(), 0.230339, 2e-6);
}

}  // namespace
}  // namespace mote::model
