#include "model/layers/lookup.h"

#include "base/check.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using checkpoint::LinearQuery;
using checkpoint::LookupGate;
using checkpoint::NeuronActivation;
using checkpoint::QueryNorm;
using testing::dense_gradient;
using testing::expect_close;
using testing::expect_values;
using testing::fill;
using testing::LookupSetter;
using testing::run_layer;
using testing::test_pass;

checkpoint::Peer peer_config(std::int64_t experts, std::int64_t heads, std::int64_t per_head,
                             std::int64_t key_dim, LookupGate gate = LookupGate::softmax,
                             NeuronActivation activation = NeuronActivation::gelu) {
  checkpoint::Peer config;
  config.experts = experts;
  config.activation = activation;
  config.router = {heads, per_head, true, gate, LinearQuery{key_dim, false, QueryNorm::none}};
  return config;
}

// specs/peer.md vector B.
struct VectorB {
  Tensor x = torch::tensor({1., -2.}).view({1, 2}).requires_grad_();
  Tensor query = torch::tensor({.5, .1, .2, -.4, -.3, .2, .6, .25}).view({4, 2}).requires_grad_();
  Tensor keys = torch::tensor({.5, -.25, .3, .8}).view({1, 2, 2, 1}).requires_grad_();
  Tensor up = torch::tensor({.2, -.1, .4, .3, -.5, .25, .1, .6}).view({4, 2});
  Tensor down = torch::tensor({1., 0., .5, -.5, -.25, 1., .75, .2}).view({4, 2});
  LookupSetter setter{{{"query.weight", query}, {"keys", keys}, {"up", up}, {"down", down}}};

  Tensor y(LookupGate gate, NeuronActivation activation) {
    Peer layer(peer_config(4, 2, 2, 2, gate, activation), {0, 1, 2, 1});
    layer.visit("ff", setter);
    result = run_layer(layer, x, test_pass(true));
    return result.y_ND;
  }
  testing::LayerResult result;
};

TEST(Peer, GivesVectorBOfTheSpecification) {
  VectorB b;
  const Tensor y = b.y(LookupGate::softmax, NeuronActivation::gelu);
  expect_values(y, {-0.1111114707, -0.0824988217}, 1e-7);
  EXPECT_TRUE(b.result.assignment.expert_R.equal(torch::tensor({1, 3, 3, 2}, torch::kInt32)));
  expect_values(b.result.assignment.gate_R, {.5560138905, .4439861095, .5124973965, .4875026035},
                1e-7);
  (y[0][0] + 0.5 * y[0][1]).backward();
  expect_values(b.x.grad(), {.0189298726, -.0397362464}, 1e-7);
  expect_values(b.query.grad(), {.0195905257, -.0391810514, 0, 0, 0, 0, -.0108911858, .0217823716},
                1e-7);
  expect_values(b.keys.grad(), {.0078362103, -.0078362103, .0021782372, -.0021782372}, 1e-7);
  expect_values(
      dense_gradient(*b.setter.tables["up"]),
      {0, 0, .0476131030, -.0952262060, -.0101541272, .0203082544, -.0845298360, .1690596720},
      1e-7);
  expect_values(
      dense_gradient(*b.setter.tables["down"]),
      {0, 0, -.0467874892, -.0233937446, -.0773448494, -.0386724247, -.1427385846, -.0713692923},
      1e-7);
  expect_values(VectorB().y(LookupGate::softmax, NeuronActivation::gelu_tanh),
                {-0.1112266311, -0.0826087840}, 1e-7);
  expect_values(VectorB().y(LookupGate::softmax, NeuronActivation::relu), {0, 0}, 0);
  expect_values(VectorB().y(LookupGate::sigmoid, NeuronActivation::gelu),
                {-0.1469459864, -0.0940136921}, 1e-7);
  expect_values(VectorB().y(LookupGate::relu, NeuronActivation::gelu),
                {-0.1415252561, -0.0218036022}, 1e-7);
}

// The generator of specs/peer.md vector C.
Tensor generated(std::uint32_t seed, double scale, std::vector<std::int64_t> shape) {
  Tensor x = torch::empty(shape, torch::kFloat64);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    seed = 1664525u * seed + 1013904223u;
    x.data_ptr<double>()[i] = scale * (2 * static_cast<double>(seed) / 0x1p32 - 1);
  }
  return x.to(torch::kFloat32);
}

TEST(Peer, GivesVectorCOfTheSpecification) {
  const auto made = [](LookupGate gate, NeuronActivation activation, std::int64_t per_head) {
    struct Made {
      Tensor x = generated(1, 1, {4, 8}).requires_grad_(),
             query = generated(2, .5, {12, 8}).requires_grad_();
      Tensor keys = torch::stack({generated(3, 1, {4, 3}), generated(4, 1, {4, 3})})
                        .unsqueeze(0)
                        .requires_grad_();
      LookupSetter setter{{{"query.weight", query},
                           {"keys", keys},
                           {"up", generated(5, .5, {16, 8})},
                           {"down", generated(6, .5, {16, 8})}}};
      testing::LayerResult result;
    } m;
    Peer layer(peer_config(16, 2, per_head, 6, gate, activation), {0, 1, 8, 1});
    layer.visit("ff", m.setter);
    m.result = run_layer(layer, m.x, test_pass(true));
    return m;
  };
  const auto sum_of_squares = [](const Tensor& x) {
    return x.detach().to(torch::kFloat64).square().sum().item<double>();
  };
  auto m = made(LookupGate::softmax, NeuronActivation::gelu, 3);
  EXPECT_NEAR(m.x[0][0].item<double>(), -0.5270889495, 1e-7);
  EXPECT_TRUE(m.result.assignment.expert_R.equal(torch::tensor(
      {15, 11, 7, 9, 10, 8, 7, 4, 15, 1, 2, 0, 9, 10, 11, 14, 10, 6, 3, 0, 1, 11, 3, 9},
      torch::kInt32)));
  expect_values(m.result.y_ND[0],
                {-0.03758694, -0.08958015, -0.05715284, -0.0503388, 0.07564487, -0.0486869,
                 0.12505866, 0.13840834},
                1e-7);
  EXPECT_NEAR(sum_of_squares(m.result.y_ND), 0.2246819384, 1e-6);
  const Tensor loss = (m.result.y_ND * generated(7, 1, {4, 8})).sum();
  EXPECT_NEAR(loss.item<double>(), -0.3522884003, 1e-6);
  loss.backward();
  EXPECT_NEAR(sum_of_squares(m.x.grad()), .5470636501, 1e-5);
  EXPECT_NEAR(sum_of_squares(m.query.grad()), .2184383283, 1e-5);
  EXPECT_NEAR(sum_of_squares(m.keys.grad()[0][0]), .0245985141, 1e-5);
  EXPECT_NEAR(sum_of_squares(m.keys.grad()[0][1]), .0142564356, 1e-5);
  const Tensor dup = dense_gradient(*m.setter.tables["up"]),
               ddown = dense_gradient(*m.setter.tables["down"]);
  EXPECT_NEAR(sum_of_squares(dup), 1.2759621753, 1e-5);
  EXPECT_NEAR(sum_of_squares(ddown), 1.4669611365, 1e-5);
  EXPECT_NEAR(dup[0][0].item<double>(), -.1438681684, 1e-6);
  EXPECT_EQ(dup.abs().sum(1).gt(0).sum().item<int>(), 13);
  EXPECT_NEAR(sum_of_squares(made(LookupGate::sigmoid, NeuronActivation::gelu, 3).result.y_ND),
              0.9558656549, 1e-5);
  EXPECT_NEAR(sum_of_squares(made(LookupGate::relu, NeuronActivation::relu, 3).result.y_ND),
              3.0454488488, 1e-5);
}

// specs/peer.md 6.2: one head that takes every expert at gate 1 is the dense layer.
TEST(Peer, IsTheDenseLayerWhereEveryExpertHasGateOne) {
  const Tensor up = fill(1, {64, 10}), down = fill(2, {64, 10}), x = fill(3, {7, 10});
  // Sigmoids of scores of 40 are 1 in float32.
  Peer layer(peer_config(64, 1, 64, 2, LookupGate::sigmoid), {0, 1, 10, 1});
  LookupSetter setter({{"query.weight", fill(4, {2, 10}) * 0},
                       {"keys", torch::zeros({1, 2, 8, 1})},
                       {"up", up},
                       {"down", down}});
  layer.visit("ff", setter);
  const Tensor want = 0.5 * at::gelu(x.matmul(up.t())).matmul(down);
  expect_close(run_layer(layer, x, test_pass()).y_ND, want, 1e-6);
}

struct Memory {
  checkpoint::ProductKey config;
  std::map<std::string, Tensor> more;
  Tensor y(const Tensor& x, const Tensor& keys, const Tensor& values) const {
    ProductKey layer(config, {0, 1, x.size(1), 1});
    std::map<std::string, Tensor> all = more;
    all["keys"] = keys;
    if (config.mode == checkpoint::MemoryMode::sparse)
      all["values"] = values;
    else
      all["dense_values.weight"] = values.t().contiguous();
    LookupSetter setter(all);
    layer.visit("ff", setter);
    const testing::LayerResult result = run_layer(layer, x, test_pass());
    found = result.assignment.expert_R;
    return result.y_ND;
  }
  mutable Tensor found;
};

// specs/sparse-ffn.md vector G.
TEST(ProductKey, GivesVectorGOfTheSpecification) {
  const Tensor x = fill(6, {1, 4}), values = fill(9, {9, 4});
  const Tensor keys = torch::stack({fill(7, {2, 3, 2}), fill(8, {2, 3, 2})}, 1);
  Memory memory;
  memory.config.values = 9;
  memory.config.router.heads = 2, memory.config.router.experts_per_head = 2;
  expect_values(memory.y(x, keys, values), {.053804, 1.430970, 2.116582, 1.779301}, 1e-6);
  EXPECT_TRUE(memory.found.equal(torch::tensor({0, 3, 8, 5}, torch::kInt32)));
  memory.config.router.gate = LookupGate::softmax_joint;
  expect_values(memory.y(x, keys, values), {.021618, .148493, .203605, .160320}, 1e-6);
  memory.config.router.gate = LookupGate::softmax;
  expect_values(memory.y(x, keys, values), {.033275, .289658, .406056, .326217}, 1e-6);
  memory.config.mode = checkpoint::MemoryMode::dense_head_sum;
  memory.config.router.gate = LookupGate::relu;
  expect_values(memory.y(x, keys, values), {.072101, .645727, .907289, .730379}, 1e-6);
  memory.config.router.gate = LookupGate::softmax_joint;
  expect_values(memory.y(x, keys, values), {-.008548, -.056864, -.077699, -.060984}, 1e-6);
}

TEST(ProductKey, GatesItsOutputWhereItIsTold) {
  const Tensor x = fill(1, {5, 4}), values = fill(2, {9, 4}), gate = fill(3, {4, 4}),
               output = fill(4, {4, 4}),
               keys = torch::stack({fill(5, {2, 3, 2}), fill(6, {2, 3, 2})}, 1);
  Memory memory;
  memory.config.values = 9;
  memory.config.router.heads = 2, memory.config.router.experts_per_head = 2;
  const Tensor plain = memory.y(x, keys, values);
  memory.config.gated_output = true;
  memory.more = {{"gate.weight", gate}, {"output.weight", output}};
  expect_close(memory.y(x, keys, values),
               (plain * torch::silu(x.matmul(gate.t()))).matmul(output.t()), 1e-5);
}

TEST(Peer, HasGatedExpertsWithAThirdTable) {
  checkpoint::Peer config = peer_config(16, 2, 3, 6);
  config.activation = NeuronActivation::silu, config.gated = true;
  const Tensor x = fill(1, {4, 8}), up = fill(2, {16, 8}), gate = fill(3, {16, 8}),
               down = fill(4, {16, 8});
  Peer layer(config, {0, 1, 8, 1});
  LookupSetter setter({{"query.weight", fill(5, {12, 8})},
                       {"keys", fill(6, {1, 2, 4, 3})},
                       {"up", up},
                       {"experts.gate", gate},
                       {"down", down}});
  layer.visit("ff", setter);
  const testing::LayerResult result = run_layer(layer, x, test_pass());
  const Tensor index = result.assignment.expert_R.to(torch::kInt64).view({4, 6});
  const auto dots = [&](const Tensor& table) {
    return (table.index({index}) * x.unsqueeze(1)).sum(-1);
  };
  const Tensor weight = result.assignment.gate_R.view({4, 6}) * torch::silu(dots(up)) * dots(gate);
  expect_close(result.y_ND, (weight.unsqueeze(-1) * down.index({index})).sum(1), 1e-6);
}

TEST(Peer, DividesScoresByATemperatureAndQueriesByTheirLength) {
  checkpoint::Peer config = peer_config(16, 2, 3, 6);
  const std::map<std::string, Tensor> values = {{"query.weight", fill(5, {12, 8})},
                                                {"keys", fill(6, {1, 2, 4, 3})},
                                                {"up", fill(2, {16, 8})},
                                                {"down", fill(4, {16, 8})}};
  const auto gates = [&](double temperature, QueryNorm norm, double scale) {
    config.router.temperature = temperature;
    config.router.query = LinearQuery{6, false, norm};
    Peer layer(config, {0, 1, 8, 1});
    std::map<std::string, Tensor> scaled = values;
    scaled["query.weight"] = values.at("query.weight") * scale;
    LookupSetter setter(scaled);
    layer.visit("ff", setter);
    return run_layer(layer, fill(1, {4, 8}), test_pass()).assignment.gate_R;
  };
  expect_close(gates(2, QueryNorm::none, 2), gates(1, QueryNorm::none, 1), 1e-6);
  expect_close(gates(1, QueryNorm::l2, 2), gates(1, QueryNorm::l2, 1), 1e-6);
  EXPECT_FALSE(gates(1, QueryNorm::l2, 1).allclose(gates(1, QueryNorm::none, 1), 1e-3));
}

// specs/peer.md 6.5, and its running statistics.
TEST(Peer, NormsQueriesOverTheBatchInTrainingAndByRunningStatisticsElsewhere) {
  checkpoint::Peer config = peer_config(4, 1, 1, 2, LookupGate::sigmoid);
  config.router.query = LinearQuery{2, true, QueryNorm::batch};
  const Tensor weight = torch::tensor({.5, -1., 2., .25}).view({2, 2}),
               bias = torch::tensor({.1, -.2}), gamma = torch::tensor({1.5, .8}),
               beta = torch::tensor({-.1, .2});
  Tensor mean = torch::tensor({.3, .4}), var = torch::tensor({4., .25});
  LookupSetter setter({{"query.weight", weight},
                       {"query.bias", bias},
                       {"norm.weight", gamma},
                       {"norm.bias", beta},
                       {"running_mean", mean},
                       {"running_var", var},
                       {"keys", torch::ones({1, 2, 2, 1})},
                       {"up", fill(1, {4, 2})},
                       {"down", fill(2, {4, 2})}});
  Peer layer(config, {0, 1, 2, 1});
  layer.visit("ff", setter);
  const auto scores = [&](const Tensor& x, ForwardState& state) {
    testing::Assignments observer;
    Pass watched = state.pass;
    watched.observer = &observer;
    ForwardState seen(watched);
    layer.forward(x, seen);
    state.commits = std::move(seen.commits);
    return torch::logit(observer.last.gate_R);
  };
  const Pass evaluating = test_pass();
  ForwardState evaluation(evaluating);
  expect_close(scores(torch::tensor({1., 2.}).view({1, 2}), evaluation),
               torch::tensor({-1.37499841 + 3.23993920}), 1e-5, "both halves of the folded query");
  EXPECT_TRUE(evaluation.commits.empty());

  const Tensor x = fill(3, {6, 2});
  const Tensor q = x.matmul(weight.t()) + bias;
  const Tensor normed =
      (q - q.mean(0)) / (q.var(0, /*unbiased=*/false) + 1e-5).sqrt() * gamma + beta;
  const Pass pass = test_pass(true);
  ForwardState training(pass);
  expect_close(scores(x, training), normed.sum(1), 1e-4);
  expect_values(mean, {.3, .4}, 1e-7, "not before the loss is known");
  ASSERT_EQ(training.commits.size(), 1u);
  training.commits[0]();
  expect_close(mean, torch::tensor({.3, .4}) * .9 + q.mean(0) * .1, 1e-6);
  expect_close(var, torch::tensor({4., .25}) * .9 + q.var(0) * .1, 1e-6);
}

TEST(Peer, TakesABatchOfOneTokenAndScoresThatAreAllEqual) {
  for (const LookupGate gate : {LookupGate::softmax, LookupGate::sigmoid, LookupGate::relu}) {
    Peer layer(peer_config(16, 2, 3, 4, gate), {0, 1, 6, 1});
    LookupSetter setter({{"query.weight", torch::zeros({8, 6})},
                         {"keys", torch::zeros({1, 2, 4, 2})},
                         {"up", fill(1, {16, 6})},
                         {"down", fill(2, {16, 6})}});
    layer.visit("ff", setter);
    const testing::LayerResult one = run_layer(layer, fill(3, {1, 6}), test_pass(true));
    EXPECT_TRUE(one.y_ND.isfinite().all().item<bool>());
    EXPECT_TRUE(one.assignment.expert_R.equal(torch::tensor({0, 1, 2, 0, 1, 2}, torch::kInt32)))
        << "equal scores go by rank " << one.assignment.expert_R;
    EXPECT_EQ(run_layer(layer, torch::empty({0, 6}), test_pass()).y_ND.size(0), 0);
  }
}

}  // namespace
}  // namespace mote::model
