#include "model/layers/dense_feed_forward.h"

#include "model/experts/mixture.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::fill;
using testing::fill_double;
using testing::Setter;
using testing::test_pass;
using Tensors = std::vector<Tensor>;

ModelConfig dense_config(std::int64_t dim, std::int64_t width) {
  ModelConfig config;
  config.vocab_size = 1;
  config.dim = dim;
  config.feed_forward.kind = FeedForwardKind::dense;
  config.feed_forward.width = width;
  return config;
}

DenseFeedForward dense(const ModelConfig& config, const Tensors& up_bias_down_bias) {
  DenseFeedForward layer(config, 0);
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
          const DenseFeedForward layer = dense(dense_config(6, 11), {f[1], f[2], f[3], f[4]});
          return layer.forward({.x_ND = f[0], .pass = test_pass(true)}).y_ND;
        },
        [](const Tensors& d) {
          return torch::relu(d[0].matmul(d[1].t()) + d[2]).matmul(d[3].t()) + d[4];
        },
        {fill_double(1, {rows, 6}), fill_double(2, {11, 6}), fill_double(3, {11}),
         fill_double(4, {6, 11}), fill_double(5, {6})});
}

TEST(DenseFeedForward, DropsHiddenUnitsInTrainingAlone) {
  ModelConfig config = dense_config(4, 2048);
  config.dropout = 0.4;
  // Every hidden unit is 1 and counts alike: the output is the share kept, scaled.
  const DenseFeedForward layer =
      dense(config, {torch::zeros({2048, 4}), torch::ones({2048}),
                     torch::full({4, 2048}, 1.0 / 2048), torch::zeros({4})});
  const Tensor x = fill(1, {10, 4});
  const double trained =
      layer.forward({.x_ND = x, .pass = test_pass(true)}).y_ND.mean().item<double>();
  EXPECT_NEAR(trained, 1, 4 * std::sqrt(0.4 / 0.6 / 20'480));
  EXPECT_NE(trained, 1);
  testing::expect_close(layer.forward({.x_ND = x, .pass = test_pass()}).y_ND, torch::ones({10, 4}),
                        1e-6);
}

// specs/sparse-ffn 7.3: with every expert chosen at gate 1 the mixture is the dense layer of all
// experts side by side.
TEST(DenseFeedForward, IsTheMixtureOfAllExpertsAtGateOne) {
  const std::int64_t experts = 3, width = 5, dim = 6;
  ModelConfig config;
  config.vocab_size = 1;
  config.dim = dim;
  config.feed_forward.experts = experts, config.feed_forward.experts_per_token = experts;
  config.feed_forward.expert_width = width;
  const Tensor up = fill(2, {experts, width, dim}), down = fill(3, {experts, dim, width});
  Mixture mixture(config, 0);
  // Scores of 40 have a gate of 1 in float32.
  Setter setter({{"router.weight", torch::full({experts, dim}, 40.0)},
                 {"experts.up", up},
                 {"experts.down", down}});
  mixture.visit("ff", setter);
  const DenseFeedForward layer =
      dense(dense_config(dim, experts * width),
            {up.reshape({experts * width, dim}), torch::zeros({experts * width}),
             down.permute({1, 0, 2}).reshape({dim, experts * width}), torch::zeros({dim})});
  const Tensor x = fill(1, {9, dim}).abs() + 0.5;
  testing::expect_close(mixture.forward({.x_ND = x, .pass = test_pass()}).y_ND,
                        layer.forward({.x_ND = x, .pass = test_pass()}).y_ND, 1e-6);
}

}  // namespace
}  // namespace mote::model
