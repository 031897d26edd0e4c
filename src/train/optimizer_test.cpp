#include "train/optimizer.h"

#include <cmath>

#include "tests/support/models.h"

namespace mote::train {
namespace {

using testing::fill;
using testing::fill_double;
using testing::test_executor;

TrainingConfig config_of(OptimizerKind kind) {
  TrainingConfig config;
  config.optimizer = kind;
  config.weight_decay = 0.1;
  config.clip_norm = 2;
  return config;
}

std::vector<std::pair<std::string, Tensor>> parameters(std::int64_t large) {
  return {{"a", fill(1, {3, 5}).requires_grad_()},
          {"b", fill(2, {large}).requires_grad_()},
          {"unused", fill(3, {4}).requires_grad_()}};
}

// Three steps as published (arXiv 1412.6980, 1711.05101), in double; gradients are clipped first.
TEST(Optimizer, StepsAsPublished) {
  for (const OptimizerKind kind : {OptimizerKind::adam, OptimizerKind::adamw}) {
    const TrainingConfig c = config_of(kind);
    auto tensors = parameters(7);
    Optimizer optimizer(tensors, c, test_executor());
    std::vector<Tensor> value, mean, square;
    for (const auto& [name, tensor] : tensors) {
      value.push_back(tensor.detach().to(torch::kFloat64));
      mean.push_back(torch::zeros_like(value.back()));
      square.push_back(torch::zeros_like(value.back()));
    }
    for (int step = 1; step <= 3; ++step) {
      const double rate = 0.01 * step;
      std::vector<Tensor> grads;
      double squares = 0;
      for (std::size_t i = 0; i < 2; ++i) {
        grads.push_back(fill_double(10 * step + static_cast<int>(i), value[i].sizes().vec()));
        tensors[i].second.mutable_grad() = grads[i].to(torch::kFloat32);
        squares += grads[i].square().sum().item<double>();
      }
      const double norm = std::sqrt(squares);
      EXPECT_NEAR(optimizer.step(rate), norm, 1e-5);
      for (std::size_t i = 0; i < 2; ++i) {
        Tensor g = grads[i] * (norm > 2 ? 2 / (norm + 1e-6) : 1.0);
        if (kind == OptimizerKind::adam)
          g = g + 0.1 * value[i];
        else
          value[i] = value[i] * (1 - rate * 0.1);
        mean[i] = 0.9 * mean[i] + 0.1 * g;
        square[i] = 0.999 * square[i] + 0.001 * g.square();
        const Tensor first = mean[i] / (1 - std::pow(0.9, step)),
                     second = square[i] / (1 - std::pow(0.999, step));
        value[i] = value[i] - rate * first / (second.sqrt() + 1e-8);
        testing::expect_close(tensors[i].second, value[i], 1e-5);
        EXPECT_FALSE(tensors[i].second.grad().defined()) << "gradients are cleared";
      }
    }
    EXPECT_TRUE(tensors[2].second.equal(fill(3, {4}))) << "no gradient, no step";
    EXPECT_EQ(optimizer.steps_done(), 3);
  }
}

TEST(Optimizer, ThreadsDoNotChangeABitOfLargeTensors) {
  const auto stepped = [](int threads) {
    auto tensors = parameters(700'001);
    Optimizer optimizer(tensors, config_of(OptimizerKind::adamw), test_executor(threads));
    std::vector<Tensor> all;
    for (int step = 1; step <= 2; ++step) {
      tensors[0].second.mutable_grad() = fill(step, {3, 5});
      tensors[1].second.mutable_grad() = fill(step + 5, {700'001});
      all.push_back(torch::full({1}, optimizer.step(0.01), torch::kFloat64));
    }
    for (const auto& [name, tensor] : tensors) all.push_back(tensor.detach().to(torch::kFloat64));
    return torch::cat([&] {
      std::vector<Tensor> flat;
      for (const Tensor& t : all) flat.push_back(t.reshape({-1}));
      return flat;
    }());
  };
  EXPECT_TRUE(stepped(1).equal(stepped(3)));
}

TEST(Optimizer, AGradientThatIsNotFiniteChangesNothing) {
  auto tensors = parameters(7);
  Optimizer optimizer(tensors, config_of(OptimizerKind::adam), test_executor());
  tensors[0].second.mutable_grad() = torch::full({3, 5}, NAN);
  EXPECT_FALSE(std::isfinite(optimizer.step(0.1)));
  EXPECT_TRUE(tensors[0].second.equal(fill(1, {3, 5})));
  EXPECT_EQ(optimizer.steps_done(), 0);
}

}  // namespace
}  // namespace mote::train
