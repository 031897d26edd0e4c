#include "train/optimizer/optimizer.h"

#include <cmath>

#include "tests/support/models.h"
#include "train/optimizer/dense.h"

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
    const auto optimizer = make_optimizer({tensors, {}}, c, test_executor());
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
      EXPECT_NEAR(optimizer->step(rate), norm, 1e-5);
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
    EXPECT_EQ(optimizer->steps_done(), 3);
  }
}

TEST(Optimizer, ThreadsDoNotChangeABitOfLargeTensors) {
  const auto stepped = [](int threads) {
    auto tensors = parameters(700'001);
    const auto optimizer =
        make_optimizer({tensors, {}}, config_of(OptimizerKind::adamw), test_executor(threads));
    std::vector<Tensor> all;
    for (int step = 1; step <= 2; ++step) {
      tensors[0].second.mutable_grad() = fill(step, {3, 5});
      tensors[1].second.mutable_grad() = fill(step + 5, {700'001});
      all.push_back(torch::full({1}, optimizer->step(0.01), torch::kFloat64));
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
  const auto optimizer =
      make_optimizer({tensors, {}}, config_of(OptimizerKind::adam), test_executor());
  tensors[0].second.mutable_grad() = torch::full({3, 5}, NAN);
  EXPECT_FALSE(std::isfinite(optimizer->step(0.1)));
  EXPECT_TRUE(tensors[0].second.equal(fill(1, {3, 5})));
  EXPECT_EQ(optimizer->steps_done(), 0);
}

// A small user of the groups' interface: plain gradient descent on the rows of a table, with a
// decay that rows catch up on when they are next read.
class LazyRows final : public OptimizerGroup, public model::RowUpdater {
 public:
  explicit LazyRows(model::RowTable& table)
      : table_(table), updated_N_(torch::zeros({table.values().size(0)}, torch::kInt64)) {
    table_.set_updater(this);
  }
  double squared_norm() override {
    gradient_ = table_.take_gradient();
    return gradient_.grad_ND.defined() ? gradient_.grad_ND.square().sum().item<double>() : 0;
  }
  void apply(double learning_rate, double factor, std::int64_t step) override {
    if (gradient_.rows_N.defined()) {
      bring_to(step, gradient_.rows_N);
      table_.values().index_add_(0, gradient_.rows_N, gradient_.grad_ND, -learning_rate * factor);
    }
    gradient_ = {};
    step_ = step;
  }
  void flush(std::int64_t step) override { bring_to(step, torch::arange(table_.values().size(0))); }
  void visit_state(const StateVisitor& visitor) override { visitor("updated", updated_N_); }
  void catch_up(model::RowTable&, const Tensor& rows) override { bring_to(step_, rows); }

 private:
  void bring_to(std::int64_t step, const Tensor& rows) {
    const Tensor missed = step - updated_N_.index_select(0, rows);
    const Tensor factor = torch::pow(torch::full({}, kDecay), missed).unsqueeze(1);
    table_.values().index_copy_(
        0, rows, (table_.values().index_select(0, rows) * factor).to(torch::kFloat32));
    updated_N_.index_fill_(0, rows, step);
  }
  static constexpr double kDecay = 0.5;
  model::RowTable& table_;
  Tensor updated_N_;
  model::RowGradient gradient_;
  std::int64_t step_ = 0;
};

TEST(OptimizerGroups, AreClippedTogetherAndLazyRowsAreWhereEagerOnesWouldBe) {
  const Tensor start = fill(1, {5, 2});
  model::RowTable table("table", start.clone());
  Tensor dense = fill(2, {3}).requires_grad_();
  TrainingConfig config;
  config.learning_rate = 0.1;
  std::vector<std::unique_ptr<OptimizerGroup>> groups;
  groups.push_back(std::make_unique<DenseGroup>(
      std::vector<std::pair<std::string, Tensor>>{{"dense", dense}}, config, test_executor()));
  groups.push_back(std::make_unique<LazyRows>(table));
  Optimizer optimizer(std::move(groups), 1.0);
  Tensor eager = start.clone();
  const Tensor reads = torch::tensor({1, 3, 3, 0, 1, 4}).view({3, 2});
  for (std::int64_t step = 0; step < 3; ++step) {
    const Tensor rows = table.gather(reads[step]);
    testing::expect_close(rows, eager.index_select(0, reads[step]), 1e-6, "rows are caught up");
    const Tensor dy = fill(10 + static_cast<int>(step), {2, 2});
    ((rows * dy).sum() + dense.sum()).backward();
    Tensor grad = torch::zeros_like(eager);
    grad.index_add_(0, reads[step], dy);
    const double norm = std::sqrt(grad.square().sum().item<double>() + 3);
    EXPECT_NEAR(optimizer.step(0.1), norm, 1e-5);
    eager = eager * 0.5 - 0.1 * std::min(1.0, 1 / (norm + 1e-6)) * grad;
  }
  EXPECT_FALSE(table.values()[2].allclose(eager[2])) << "never read: still behind";
  optimizer.flush();
  testing::expect_close(table.values(), eager, 1e-6);
  std::vector<std::string> names;
  optimizer.visit_state([&](const std::string& name, Tensor&) { names.push_back(name); });
  EXPECT_EQ(names, (std::vector<std::string>{"mean.dense", "square.dense", "updated"}));
}

}  // namespace
}  // namespace mote::train
