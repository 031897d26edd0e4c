#include "train/optimizer/optimizer.h"

#include <cmath>

#include "base/check.h"
#include "model/ops/table_rows.h"
#include "tests/support/models.h"

namespace mote::train {
namespace {

using testing::fill;
using testing::fill_double;

kernels::Run test_run(int threads = 2) {
  return {kernels::Isa::amx, &testing::test_executor(threads)};
}

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
    const auto optimizer = make_optimizer({tensors, {}}, c, test_run());
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
        make_optimizer({tensors, {}}, config_of(OptimizerKind::adamw), test_run(threads));
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
  const auto optimizer = make_optimizer({tensors, {}}, config_of(OptimizerKind::adam), test_run());
  tensors[0].second.mutable_grad() = torch::full({3, 5}, NAN);
  EXPECT_FALSE(std::isfinite(optimizer->step(0.1)));
  EXPECT_TRUE(tensors[0].second.equal(fill(1, {3, 5})));
  EXPECT_EQ(optimizer->steps_done(), 0);
}

// A table of one row of one number, its gradient given by hand.
struct OneNumber {
  model::RowTablePtr table = std::make_shared<model::RowTable>("w", torch::ones({1, 1}));
  std::unique_ptr<Optimizer> optimizer;

  explicit OneNumber(const TrainingConfig& config)
      : optimizer(make_optimizer({{}, {table}}, config, test_run())) {}
  void step(double gradient, double rate = 1e-3) {
    if (gradient != 0)
      table->gradients().push_back(
          {torch::zeros({1}, torch::kInt64), torch::full({1, 1}, gradient)});
    optimizer->step(rate);
  }
};

// specs/peer.md vector D.
TEST(RowGroup, GivesVectorDOfTheSpecification) {
  TrainingConfig config;
  config.clip_norm = 0;
  for (const auto& [decay, expected] : {std::pair{0.0, 0.9971369596}, {0.1, 0.9961387285}}) {
    config.optimizer = decay > 0 ? OptimizerKind::adamw : OptimizerKind::adam;
    config.weight_decay = decay;
    OneNumber number(config);
    for (int step = 1; step <= 10; ++step) number.step(step == 3 ? 1 : step == 10 ? -0.5 : 0);
    EXPECT_NEAR(number.table->values().item<double>(), expected, 2e-7);
  }
}

TEST(RowGroup, ThatStaysIsSparseAdamOfVectorD) {
  TrainingConfig config;
  config.clip_norm = 0;
  config.tables.untouched = UntouchedRows::stay;
  for (const auto& [bias_step, expected] :
       {std::pair{BiasStep::global, 0.9991878036}, {BiasStep::row, 0.9987336630}}) {
    config.tables.bias_step = bias_step;
    OneNumber number(config);
    for (int step = 1; step <= 10; ++step) number.step(step == 3 ? 1 : step == 10 ? -0.5 : 0);
    EXPECT_NEAR(number.table->values().item<double>(), expected, 2e-7);
  }
}

TEST(RowGroup, RefusesADecayThatRowsWouldMiss) {
  TrainingConfig config;
  config.weight_decay = 0.1;
  EXPECT_THROW(OneNumber{config}, Error);
  config.optimizer = OptimizerKind::adamw;
  EXPECT_NO_THROW(OneNumber{config});
  config.tables.untouched = UntouchedRows::stay;
  EXPECT_THROW(OneNumber{config}, Error);
}

TEST(RowGroup, HasALearningRateOfItsOwn) {
  TrainingConfig config;
  config.clip_norm = 0;
  OneNumber plain(config);
  plain.step(1, 3e-3);
  config.tables.learning_rate = 3 * config.learning_rate;
  OneNumber own(config);
  own.step(1, 1e-3);
  EXPECT_NEAR(own.table->values().item<double>(), plain.table->values().item<double>(), 1e-7);
}

// Adam in double, of a table whose rows 1 and 3 have gradients in odd steps and row 2 in even ones.
Tensor stepped_rows(const TablesConfig& tables, const model::RowTablePtr& table) {
  TrainingConfig config;
  config.clip_norm = 0;
  config.tables = tables;
  const auto optimizer = make_optimizer({{}, {table}}, config, test_run());
  const std::int64_t columns = table->values().size(1);
  const bool one_square = tables.second_moment == SecondMoment::row;
  Tensor value = table->values().to(torch::kFloat64), mean = torch::zeros_like(value),
         square = torch::zeros({value.size(0), one_square ? 1 : columns}, torch::kFloat64);
  for (int step = 1; step <= 30; ++step) {
    const Tensor rows = step % 2 ? torch::tensor({1, 3}) : torch::tensor({2});
    const Tensor grad = fill(step, {rows.size(0), columns});
    table->gradients().push_back({rows, grad});
    optimizer->step(0.01);
    const Tensor all = torch::zeros_like(value).index_copy_(0, rows, grad.to(torch::kFloat64));
    mean = 0.9 * mean + 0.1 * all;
    const Tensor squares = one_square ? all.square().mean(1, true) : all.square();
    square = 0.999 * square + 0.001 * squares;
    value = value - 0.01 * mean / (1 - std::pow(0.9, step)) /
                        ((square / (1 - std::pow(0.999, step))).sqrt() + 1e-8);
  }
  optimizer->flush();
  return value;
}

TEST(RowGroup, MayHaveOneSecondMomentForARow) {
  const auto table = std::make_shared<model::RowTable>("table", fill(1, {4, 6}));
  TablesConfig tables;
  tables.second_moment = SecondMoment::row;
  const Tensor want = stepped_rows(tables, table);
  testing::expect_close(table->values(), want, 1e-5);
}

TEST(RowGroup, KeepsBfloat16RightInTheMean) {
  // 512 columns that differ by nothing but their rounding: their mean is that of float32.
  TablesConfig tables;
  tables.values = tables.moments = StoredType::bf16;
  const Tensor start = torch::ones({4, 512});
  const auto stored = std::make_shared<model::RowTable>("table", start.to(torch::kBFloat16));
  const auto exact = std::make_shared<model::RowTable>("table", start.clone());
  TrainingConfig config;
  config.clip_norm = 0;
  const auto one = make_optimizer({{}, {exact}}, config, test_run());
  config.tables = tables;
  const auto other = make_optimizer({{}, {stored}}, config, test_run());
  for (int step = 0; step < 60; ++step)
    for (const auto& [table, optimizer] : {std::pair{exact, one.get()}, {stored, other.get()}}) {
      table->gradients().push_back(
          {torch::tensor({step % 3}), torch::full({1, 512}, 1 + 0.1 * step)});
      optimizer->step(1e-4);  // a fortieth of the distance between numbers of bfloat16 below 1
    }
  one->flush(), other->flush();
  const Tensor want = exact->values().mean(1), got = stored->values().to(torch::kFloat32).mean(1);
  EXPECT_LT(want.narrow(0, 0, 3).max().item<double>(), 0.998);
  testing::expect_close(got, want, 3e-4);
  std::vector<torch::ScalarType> types;
  other->visit_state([&](const std::string&, Tensor& x) { types.push_back(x.scalar_type()); });
  EXPECT_EQ(types, (std::vector<torch::ScalarType>{torch::kBFloat16, torch::kBFloat16}));
}

// Rows and a dense tensor with the same gradients, clipped together, through a warm-up and a falling
// learning rate; rows are flushed in the middle and at the end.
void expect_rows_as_dense(OptimizerKind kind, std::int64_t resumed_after) {
  TrainingConfig config;
  config.optimizer = kind;
  config.weight_decay = kind == OptimizerKind::adamw ? 0.1 : 0;
  config.clip_norm = 1;
  const Tensor start = fill(1, {9, 5});
  Tensor dense = start.clone().requires_grad_();
  auto rows = std::make_shared<model::RowTable>("rows", start.clone());
  // Of equal gradients, so that both are clipped alike.
  const auto one = make_optimizer({{{"dense", dense}}, {}}, config, test_run());
  auto many = make_optimizer({{}, {rows}}, config, test_run());
  for (std::int64_t step = 0; step < 40; ++step) {
    const double rate = 0.01 * std::min(1.0, (static_cast<double>(step) + 1) / 8) *
                        (1 + std::cos(static_cast<double>(step) / 13));
    Tensor index = torch::tensor({step % 4, 4 + step * step % 4, step % 4}, torch::kInt32);
    index = index.view({3, 1});
    const Tensor dy = fill(static_cast<int>(step), {3, 5});
    const Tensor y = model::ops::row_sums(torch::ones({3, 1}), rows, model::ops::RowPicks(index, 9),
                                          testing::test_pass(true));
    testing::expect_close(y, dense.detach().index_select(0, index.view(-1)), 1e-6,
                          "rows that are read are up to date");
    (y * dy).sum().backward();
    dense.mutable_grad() = torch::zeros_like(start).index_add_(0, index.view(-1), dy);
    EXPECT_NEAR(one->step(rate), many->step(rate), 1e-5);
    if (step + 1 == resumed_after) {
      many->flush();
      std::map<std::string, Tensor> kept;
      many->visit_state([&](const std::string& name, Tensor& x) { kept[name] = x.clone(); });
      many.reset();
      many = make_optimizer({{}, {rows}}, config, test_run());
      many->visit_state([&](const std::string& name, Tensor& x) { x.copy_(kept.at(name)); });
      many->restore(step + 1);
    }
  }
  EXPECT_FALSE(rows->values().allclose(dense.detach(), 1e-4, 1e-6)) << "some rows are behind";
  many->flush();
  testing::expect_close(rows->values(), dense.detach(), 2e-6, "after the flush");
}

TEST(RowGroup, IsDenseAdamThroughWarmUpClippingAndAResume) {
  for (const OptimizerKind kind : {OptimizerKind::adam, OptimizerKind::adamw})
    for (const std::int64_t resumed_after : {-1, 17}) expect_rows_as_dense(kind, resumed_after);
}

TEST(RowGroup, IsClippedTogetherWithDenseTensors) {
  TrainingConfig config;
  config.clip_norm = 1;
  Tensor dense = fill(2, {3}).requires_grad_();
  const auto table = std::make_shared<model::RowTable>("table", fill(1, {5, 2}));
  const auto optimizer = make_optimizer({{{"dense", dense}}, {table}}, config, test_run());
  dense.mutable_grad() = torch::ones({3});
  table->gradients().push_back({torch::tensor({1, 4}), torch::full({2, 2}, 2.0)});
  EXPECT_NEAR(optimizer->step(0.1), std::sqrt(3.0 + 16), 1e-6);
  std::vector<std::string> names;
  optimizer->visit_state([&](const std::string& name, Tensor&) { names.push_back(name); });
  EXPECT_EQ(names,
            (std::vector<std::string>{"mean.dense", "square.dense", "mean.table", "square.table"}));
}

}  // namespace
}  // namespace mote::train
