// Every axis of a mixture's router: published vectors, invariants, gradients.
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/file.h"
#include "base/toml.h"
#include "model/layers/mixture.h"
#include "model/layers/sites.h"
#include "model/ops/dropout.h"
#include "model/ops/noise.h"
#include "model/routing/balance.h"
#include "model/routing/gates.h"
#include "model/routing/router_cell.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using checkpoint::BalanceConfig;
using checkpoint::Gate;
using checkpoint::RouterConfig;
using checkpoint::SinkhornForm;
using testing::check_operation;
using testing::expect_close;
using testing::expect_values;
using testing::fill;
using testing::fill_double;
using testing::run_layer;
using testing::Setter;
using testing::test_pass;
using Tensors = std::vector<Tensor>;

std::vector<int> ints(const Tensor& t) {
  const Tensor flat = t.reshape({-1}).to(torch::kInt32).contiguous();
  return {flat.data_ptr<int>(), flat.data_ptr<int>() + flat.numel()};
}

// ---- gates ----------------------------------------------------------------------------------------

Tensor gates_of(const Tensor& z, std::int64_t k, Gate gate, bool renormalise = false) {
  RouterConfig router;
  router.gate = gate;
  router.renormalise = renormalise;
  return gates(router, z, {}, select_topk(z.detach(), k, test_pass()), test_pass());
}

// specs/checkpoints 3, the vectors of DeepSeek's routers.
const Tensor kEightScores = torch::tensor({{.2f, -1.f, 1.5f, .3f, -.5f, 2.f, 0.f, 1.f}});

Mixture grouped_layer(const RouterConfig& router, const Tensor& bias) {
  Mixture layer({8, 1, router}, {0, 1, 8, 1});
  std::map<std::string, Tensor> values = {{"router.weight", torch::eye(8)},
                                          {"experts.up", torch::zeros({8, 1, 8})},
                                          {"experts.down", torch::zeros({8, 8, 1})}};
  if (bias.defined()) values["router.selection_bias"] = bias;
  Setter setter(values);
  layer.visit("ff", setter);
  return layer;
}

TEST(GroupedTop, OfVersionTwoKeepsTheGroupsOfTheBestExperts) {
  RouterConfig router;
  router.experts_per_token = 3;
  router.gate = Gate::softmax_before;
  router.select = checkpoint::GroupedTop{4, 2, checkpoint::GroupScore::best};
  const auto got = run_layer(grouped_layer(router, {}), kEightScores, test_pass()).assignment;
  EXPECT_EQ(ints(got.expert_R), (std::vector<int>{5, 2, 3}));
  expect_values(got.gate_R, {.386160, .234218, .070545}, 1e-6);
}

TEST(GroupedTop, OfVersionThreeSelectsByABiasThatGatesDoNotHave) {
  RouterConfig router;
  router.experts_per_token = 3;
  router.select = checkpoint::GroupedTop{4, 2, checkpoint::GroupScore::best_two};
  router.selection_bias = true;
  router.renormalise = true;
  router.gate_scale = 2.5;
  const Tensor bias = torch::tensor({.5f, 0.f, -.4f, 0.f, .3f, -.6f, 0.f, 0.f});
  const auto got = run_layer(grouped_layer(router, bias), kEightScores, test_pass()).assignment;
  EXPECT_EQ(ints(got.expert_R), (std::vector<int>{0, 7, 6}));
  expect_values(got.gate_R, {.771852, 1.026253, .701895}, 1e-6);
}

TEST(GroupedTop, OfOneGroupIsTopk) {
  const Tensor z = fill(7, {20, 8});
  const Selection all = select_grouped(z, {1, 1, checkpoint::GroupScore::best}, 3, test_pass());
  EXPECT_EQ(ints(all.expert_R), ints(select_topk(z, 3, test_pass()).expert_R));
}

TEST(SparseMixer, MakesEachGateFromTheScoresNearIt) {
  RouterConfig router;
  router.experts_per_token = 2;
  router.gate = Gate::softmax_before;
  router.select = checkpoint::SparseMixer{0.01};
  const auto gates_for = [&](const std::vector<float>& scores) {
    const Tensor z = torch::tensor(scores).unsqueeze(0);
    return gates(router, z, {}, select_topk(z, 2, test_pass()), test_pass());
  };
  // (5 - 4.95) / 5 is not above 2 * 0.01, (4.95 - 3) / 4.95 is.
  expect_values(gates_for({3, 5, 4.95f, -9}), {1 / (1 + std::exp(-.05)), 1}, 1e-6);
  expect_values(gates_for({3, 5, 4.8f, 4.75f}), {1, 1 / (1 + std::exp(-.05))}, 1e-6);
  // What is far is measured by the larger of the best score and the other's magnitude.
  expect_values(gates_for({-1, -1.01f, -9, -9}), {1 / (1 + std::exp(-.01)), 1}, 1e-6);
}

TEST(SparseMixer, HasTheGradientOfItsSoftmaxes) {
  RouterConfig router;
  router.experts_per_token = 2;
  router.gate = Gate::softmax_before;
  router.select = checkpoint::SparseMixer{0.3};
  const Selection chosen = select_topk(fill(3, {5, 6}), 2, test_pass());
  check_operation(
      [&](const Tensors& f) { return gates(router, f[0], {}, chosen, test_pass(true)); },
      [&](const Tensors& d) { return gates(router, d[0], {}, chosen, test_pass(true)); },
      {fill_double(3, {5, 6})});
}

TEST(SwitchLoss, OfAllLayersIsOfTheMeansOverThem) {
  const Tensor share = torch::tensor({{1.f, 0.f}}), other = torch::tensor({{.25f, .75f}}),
               p = torch::tensor({{.5f, .5f}}), q = torch::tensor({{.1f, .9f}});
  const Pass pass = test_pass();
  ForwardState state(pass);
  const std::vector<checkpoint::BalanceConfig> balance = {
      checkpoint::SwitchLoss{0.5, checkpoint::SwitchScale::paper, true}};
  state.routing = {{"a", {}, 0, balance, share, p}, {"b", {}, 0, balance, other, q}};
  // 2 (.625 .3 + .375 .7) / 2
  EXPECT_NEAR(penalties(state).item<double>(), 0.45, 1e-6);
}

TEST(Gates, MatchVectorC) {
  const Tensor z = torch::tensor({{2.f, 1.f, .5f, -1.f}});
  const auto expect = [&](Gate gate, bool renormalise, const std::vector<double>& values) {
    expect_values(gates_of(z, 2, gate, renormalise), values, 1e-6, enum_name(gate));
  };
  expect(Gate::sigmoid, false, {0.880797, 0.731059});
  expect(Gate::softmax_before, false, {0.609460, 0.224208});
  expect(Gate::softmax_after, false, {0.731059, 0.268941});
  expect(Gate::softmax_before, true, {0.731059, 0.268941});
  expect(Gate::sigmoid, true, {0.546449, 0.453551});
  expect(Gate::one, false, {1, 1});
  // Only 2 and 1 are in the support: 2 - t + 1 - t = 1 has t = 1, where 1 is at its edge.
  expect(Gate::sparsemax, false, {1, 0});
}

TEST(Sparsemax, IsTheNearestPointOfTheSimplex) {
  expect_values(sparsemax(torch::tensor({{.1f, .5f, .3f, -2.f}})), {.8 / 6, 3.2 / 6, 2. / 6, 0},
                1e-6);
  expect_values(sparsemax(torch::zeros({1, 4})), {.25, .25, .25, .25}, 1e-7);
  expect_values(sparsemax(torch::tensor({{1e4f, 1e4f, -1e4f}})), {.5, .5, 0}, 1e-6);
  const Tensor z = 3 * fill(3, {20, 7}), p = sparsemax(z);
  expect_close(p.sum(-1), torch::ones({20}), 1e-6);
  // No direction from p to a corner makes an acute angle with z - p.
  const Tensor away = z - p;
  EXPECT_LE((away - (away * p).sum(-1, true)).max().item<double>(), 1e-5);
}

TEST(Gates, OfSoftmaxKindsIgnoreAConstantAddedToARow) {
  const Tensor z = fill(3, {6, 8}), moved = z + 3 * fill(9, {6, 1});
  for (const Gate gate : {Gate::softmax_before, Gate::softmax_after, Gate::sparsemax})
    expect_close(gates_of(moved, 3, gate), gates_of(z, 3, gate), 1e-6, enum_name(gate));
  EXPECT_EQ(ints(select_topk(moved, 3, test_pass()).expert_R),
            ints(select_topk(z, 3, test_pass()).expert_R));
  EXPECT_GT((gates_of(moved, 3, Gate::sigmoid) - gates_of(z, 3, Gate::sigmoid))
                .abs()
                .max()
                .item<double>(),
            0.1);
}

// ---- selection ------------------------------------------------------------------------------------

const Tensor kVectorE = torch::tensor(
    {{2., 1., 0.}, {2., 0., -1.}, {1., .5, 0.}, {3., 2.5, -2.}, {0., .2, .1}, {1.5, -1., 1.}});

TEST(Sinkhorn, MatchesVectorE) {
  const Tensor correct = sinkhorn(kVectorE, 3, SinkhornForm::correct).exp();
  expect_values(correct[0], {.387714, .377352, .231300}, 1e-6);
  expect_values(correct.sum(0), {2, 2, 2}, 1e-12);
  EXPECT_EQ(ints(correct.argmax(-1)), (std::vector<int>{0, 0, 2, 1, 2, 2}));
  const Tensor published = sinkhorn(kVectorE, 3, SinkhornForm::published).exp();
  EXPECT_EQ(ints(published.argmax(-1)), (std::vector<int>{2, 2, 2, 1, 2, 2}));
  EXPECT_LT(published.max().item<double>(), 1e-4);
  EXPECT_GT(published.max().item<double>(), 1e-8);
  EXPECT_EQ(ints(kVectorE.argmax(-1)), (std::vector<int>{0, 0, 0, 0, 1, 0}));
}

TEST(Sinkhorn, GivesRowsOfOneInTheLimitAndStaysFinite) {
  expect_close(sinkhorn(kVectorE, 500, SinkhornForm::correct).exp().sum(-1), torch::ones({6}),
               1e-9);
  for (const double scale : {0.0, 1e4})
    for (const SinkhornForm form : {SinkhornForm::correct, SinkhornForm::published})
      EXPECT_TRUE(sinkhorn(scale * kVectorE, 3, form).isfinite().all().item<bool>());
}

TEST(ExpertChoice, GivesEveryExpertItsBestTokens) {
  const Tensor z = fill(3, {12, 4});
  const Selection chosen = select_by_experts(z, 2, 12, test_pass());
  EXPECT_EQ(ints(torch::bincount(chosen.expert_R, {}, 4)), (std::vector<int>{6, 6, 6, 6}));
  const Tensor taken_NE = torch::zeros({48}, torch::kBool);
  taken_NE.index_fill_(0, chosen.token_expert_R(4), true);
  for (std::int64_t e = 0; e < 4; ++e) {
    const Tensor mine = taken_NE.view({12, 4}).select(1, e), scores = z.select(1, e);
    EXPECT_GT(scores.masked_select(mine).min().item<float>(),
              scores.masked_select(mine.logical_not()).max().item<float>());
  }
}

TEST(ExpertChoice, ChoosesWithinEachGroup) {
  const Selection chosen = select_by_experts(fill(3, {12, 4}), 1, 4, test_pass());
  // 4 tokens * 1 / 4 experts = one token for each expert and group.
  for (std::int64_t g = 0; g < 3; ++g)
    EXPECT_EQ(chosen.first_N1[4 * (g + 1)].item<int>() - chosen.first_N1[4 * g].item<int>(), 4);
  EXPECT_EQ(select_by_experts(fill(3, {1, 4}), 1, 1, test_pass()).expert_R.size(0), 4)
      << "at least one token each";
  EXPECT_EQ(select_by_experts(torch::zeros({0, 4}), 1, 4, test_pass()).tokens(), 0);
}

TEST(HashRouter, GivesAnIdTheSameDistinctExpertsEverywhere) {
  const checkpoint::HashScore hash{7, {}};
  const Tensor ids = torch::arange(2000) % 500;
  const auto expert_NK = [&](const Tensor& of, std::int64_t layer) {
    return select_by_hash(of, hash, 3, 8, layer, test_pass()).expert_R.view({-1, 3});
  };
  const Tensor a = expert_NK(ids, 2);
  EXPECT_TRUE(a.narrow(0, 0, 500).equal(a.narrow(0, 1500, 500)));
  EXPECT_TRUE(expert_NK(ids.narrow(0, 42, 1), 2)[0].equal(a[42]));
  EXPECT_FALSE(a.equal(expert_NK(ids, 3))) << "every layer has a hash of its own";
  for (const auto& [i, j] : {std::pair{0, 1}, std::pair{0, 2}, std::pair{1, 2}})
    EXPECT_FALSE(a.select(1, i).eq(a.select(1, j)).any().item<bool>());
  const Tensor counts = torch::bincount(a.narrow(0, 0, 500).reshape(-1), {}, 8);
  // 1,500 draws of 8 experts: 187.5 each, standard deviation below sqrt(187.5) = 13.7.
  EXPECT_GT(counts.min().item<int>(), 187 - 5 * 14);
  EXPECT_LT(counts.max().item<int>(), 188 + 5 * 14);
}

TEST(HashRouter, TakesAGivenTable) {
  const checkpoint::HashScore hash{1, {3, 0, 2, 1, 1, 3}};  // 3 ids, 2 experts each
  const Selection chosen = select_by_hash(torch::tensor({2, 0, 1}), hash, 2, 4, 0, test_pass());
  EXPECT_EQ(ints(chosen.expert_R), (std::vector<int>{1, 3, 3, 0, 2, 1}));
}

TEST(Capacity, KeepsFirstChoicesInTheOrderOfTokens) {
  // Tokens 0 to 3; first choices 0 0 0 1, second choices 1 1 1 0.
  const Selection chosen{ops::equal_rows(4, 2, test_pass()),
                         torch::tensor({0, 1, 0, 1, 0, 1, 1, 0}, torch::kInt32), 2};
  using Rows = std::vector<std::int64_t>;
  // Expert 0 takes tokens 0 and 1; expert 1 first token 3, then token 0's second choice.
  EXPECT_EQ(rows_within(chosen, 2, 2, 4), (Rows{0, 1, 2, 6}));
  // In groups of two tokens: each token of the first group has both; of the second 2 has 0, 3 has 1, ...
  EXPECT_EQ(rows_within(chosen, 2, 1, 2), (Rows{0, 1, 4, 6}));
  EXPECT_EQ(rows_within(chosen, 2, 100, 4).size(), 8u);
}

// ---- losses ---------------------------------------------------------------------------------------

const Tensor kVectorD = torch::tensor(
    {{2.f, 1.f, .5f, -1.f}, {0.f, .5f, 1.f, 1.5f}, {1.f, 3.f, -1.f, 0.f}, {2.f, 0.f, 1.f, -2.f}});

// The penalty of scores as a router has them.
Tensor penalty_of(const Tensor& z, std::int64_t k, Gate gate, const BalanceConfig& loss,
                  const Tensor& noisy = {}, const Tensor& noise_std = {}) {
  const Pass pass = test_pass(true);
  const Tensor ranked = noisy.defined() ? noisy : z;
  const Selection chosen = select_topk(ranked.detach(), k, pass);
  RouterConfig config;
  config.gate = gate;
  config.balance = {loss};
  const Tensor gate_R = gates(config, ranked, {}, chosen, pass);
  const ops::Assignment all{z.size(1), chosen.first_N1, chosen.expert_R, gate_R};
  ForwardState state(pass);
  state.routing.push_back(routing_statistics(
      "l", config, {z, ranked, noise_std, chosen, gate_R, all, z.size(0)}, pass));
  return penalties(state);
}

// specs/checkpoints 2.3: a token that capacity drops counts as one of expert 0, in transformers.
TEST(SwitchLoss, OfSequencesMatchesTransformersSwitch) {
  const Pass pass = test_pass(true);
  const Tensor z = torch::tensor({{2.f, 0.f},
                                  {1.f, 0.f},
                                  {0.f, 1.f},
                                  {3.f, 0.f},  // vector [C]
                                  {0.f, 1.f},
                                  {0.f, 2.f},
                                  {0.f, 3.f},
                                  {1.f, 0.f}});
  const auto loss_of = [&](std::int64_t tokens, bool dropped_as_first) {
    checkpoint::Mixture mixture;
    mixture.experts = 2, mixture.expert_width = 4;
    RouterConfig& router = mixture.router;
    router.experts_per_token = 1;
    router.gate = Gate::softmax_before;
    router.capacity = checkpoint::CapacityCount{2, checkpoint::Scope::sequence, true};
    router.balance = {checkpoint::SwitchLoss{1, checkpoint::SwitchScale::paper, true,
                                             checkpoint::Scope::sequence, dropped_as_first}};
    const Selection chosen = select_topk(z.narrow(0, 0, tokens), 1, pass);
    const std::vector<std::int64_t> rows = rows_within(chosen, 2, 2, 4);
    std::vector<std::int32_t> first{0};
    for (std::int64_t n = 0; n < tokens; ++n)
      first.push_back(first.back() +
                      static_cast<std::int32_t>(std::count(rows.begin(), rows.end(), n)));
    const Tensor gate_R = torch::ones({tokens});
    const ops::Assignment kept{2, torch::tensor(first, torch::kInt32),
                               chosen.expert_R.index_select(0, torch::tensor(rows, torch::kInt64)),
                               gate_R};
    ForwardState state(pass);
    const Tensor some = z.narrow(0, 0, tokens);
    state.routing.push_back(
        routing_statistics("l", router, {some, some, {}, chosen, gate_R, kept, 4}, pass));
    return penalties(state).item<double>();
  };
  EXPECT_NEAR(loss_of(4, true), 1.208343, 1e-5);
  EXPECT_NEAR(loss_of(4, false), 1.208343, 1e-5) << "the dropped token chose expert 0";
  // The second sequence: experts 1, 1, 1 (dropped), 0.
  const Tensor p = torch::softmax(z.narrow(0, 4, 4), -1).mean(0);
  const double p0 = p[0].item<double>(), p1 = p[1].item<double>();
  EXPECT_NEAR(loss_of(8, true), (1.208343 + 2 * (0.5 * p0 + 0.5 * p1)) / 2, 1e-5);
  EXPECT_NEAR(loss_of(8, false), (1.208343 + 2 * (0.25 * p0 + 0.75 * p1)) / 2, 1e-5);
}

TEST(SwitchLoss, MatchesVectorD) {
  const Tensor z = kVectorD.clone().requires_grad_();
  const Tensor paper = penalty_of(z, 1, Gate::softmax_before, checkpoint::SwitchLoss{1});
  EXPECT_NEAR(paper.item<double>(), 1.202923, 2e-6);
  paper.backward();
  expect_values(z.grad()[0], {.080225, -.026539, -.050094, -.003592}, 1e-6);
  const Tensor published = penalty_of(
      z, 1, Gate::softmax_before, checkpoint::SwitchLoss{1, checkpoint::SwitchScale::published});
  EXPECT_NEAR(published.item<double>(), 0.0751827, 1e-7);
  // The published form divides by the picks, the paper's does not: K^-1 E^-2 between them.
  const Tensor both = torch::stack(
      {penalty_of(z, 2, Gate::softmax_before, checkpoint::SwitchLoss{1}),
       32 * penalty_of(z, 2, Gate::softmax_before,
                       checkpoint::SwitchLoss{1, checkpoint::SwitchScale::published})});
  EXPECT_NEAR(both[0].item<double>(), both[1].item<double>(), 1e-5);
}

TEST(ImportanceLoss, MatchesVectorD) {
  const Tensor plain =
      penalty_of(kVectorD, 2, Gate::softmax_after, checkpoint::ImportanceLoss{1, false});
  EXPECT_NEAR(plain.item<double>(), 0.396190, 1e-6);
  const Tensor squared =
      penalty_of(kVectorD, 2, Gate::softmax_after, checkpoint::ImportanceLoss{3, true});
  EXPECT_NEAR(squared.item<double>(), 3 * 0.396190 * 0.396190, 3e-6);
}

TEST(LoadLoss, CountsHowOftenNewNoiseWouldSelect) {
  // Expected tokens by drawing the noise of one score anew, the others kept.
  const Tensor z = fill(3, {3, 4}), std = 0.5 + fill(4, {3, 4}).abs(),
               noisy = z + std * fill(5, {3, 4});
  const std::int64_t k = 2, draws = 40000;
  Tensor counted = torch::zeros({4}, torch::kFloat64);
  const Rng rng(3, Purpose::test);
  for (std::int64_t n = 0; n < 3; ++n)
    for (std::int64_t e = 0; e < 4; ++e) {
      std::vector<float> others;
      for (std::int64_t o = 0; o < 4; ++o)
        if (o != e) others.push_back(noisy[n][o].item<float>());
      std::sort(others.rbegin(), others.rend());
      std::int64_t hits = 0;
      for (std::int64_t i = 0; i < draws; ++i) {
        const double drawn = z[n][e].item<float>() +
                             std[n][e].item<float>() *
                                 rng.normal(static_cast<std::uint64_t>((n * 4 + e) * draws + i));
        hits += drawn > others[static_cast<std::size_t>(k - 1)];
      }
      counted[e] += static_cast<double>(hits) / static_cast<double>(draws);
    }
  const Pass pass = test_pass(true);
  RouterConfig config;
  config.gate = Gate::softmax_after;
  config.balance = {checkpoint::LoadLoss{1, false}};
  const Selection chosen = select_topk(noisy, k, pass);
  const Tensor gate_R = gates(config, noisy, {}, chosen, pass);
  const RoutingStatistics s =
      routing_statistics("l", config,
                         {z,
                          noisy,
                          std,
                          chosen,
                          gate_R,
                          {z.size(1), chosen.first_N1, chosen.expert_R, gate_R},
                          z.size(0)},
                         pass);
  // Three sums of shares, each with a standard deviation of at most 0.5 / sqrt(draws) = 0.0025.
  expect_close(s.load_E, counted, 0.015);
}

TEST(ZLoss, IsTheMeanSquareOfTheLogarithmOfTheSum) {
  const Tensor want = kVectorD.exp().sum(-1).log().square().mean();
  EXPECT_NEAR(penalty_of(kVectorD, 2, Gate::softmax_before, checkpoint::ZLoss{2}).item<double>(),
              2 * want.item<double>(), 1e-5);
}

TEST(BalancingLosses, AreFiniteWithFiniteGradientsForEqualAndForHugeScores) {
  const std::vector<BalanceConfig> losses = {
      checkpoint::SwitchLoss{1}, checkpoint::ImportanceLoss{1, false},
      checkpoint::ImportanceLoss{1, true}, checkpoint::LoadLoss{1, false}, checkpoint::ZLoss{1}};
  for (const double scale : {0.0, 1e4})
    for (const BalanceConfig& loss : losses) {
      const Tensor z = (scale * fill(3, {6, 4})).detach().requires_grad_();
      const Tensor penalty =
          penalty_of(z, 2, Gate::softmax_before, loss, z + fill(4, {6, 4}), torch::ones({6, 4}));
      EXPECT_TRUE(penalty.isfinite().item<bool>()) << loss.kind();
      penalty.backward();
      EXPECT_TRUE(z.grad().isfinite().all().item<bool>()) << loss.kind();
    }
}

// ---- the router in its layer ----------------------------------------------------------------------

struct Layer {
  checkpoint::Mixture config{4, 3, {2, 0, 0}};
  Tensor x = fill(1, {6, 4}), up = fill(2, {4, 3, 4}), down = fill(3, {4, 4, 3}),
         router = fill(4, {4, 4});
  std::map<std::string, Tensor> more;
  const RouterCell* cell = nullptr;

  Mixture made() const {
    Mixture layer(config, {0, 1, x.size(1), 1, cell});
    std::map<std::string, Tensor> values = {
        {"router.weight", router}, {"experts.up", up}, {"experts.down", down}};
    values.insert(more.begin(), more.end());
    Setter setter(values);
    layer.visit("ff", setter);
    return layer;
  }
  testing::LayerResult run(bool train = true) const {
    return run_layer(made(), x, test_pass(train));
  }
};

Tensor rows_per_expert(const ops::Assignment& assignment) {
  return torch::bincount(assignment.expert_R, {}, assignment.num_experts);
}

// Every router whose gates follow from learned scores without noise, by name.
std::vector<std::pair<std::string, RouterConfig>> learned_routers() {
  std::vector<std::pair<std::string, RouterConfig>> all;
  for (const bool renormalise : {false, true})
    for (const Gate gate :
         {Gate::sigmoid, Gate::softmax_before, Gate::softmax_after, Gate::sparsemax}) {
      RouterConfig r{2, 0, 0};
      r.gate = gate, r.renormalise = renormalise;
      all.emplace_back(concat(enum_name(gate), renormalise ? " renormalised" : ""), r);
    }
  const auto add = [&](const std::string& name, std::int64_t k, const auto& change) {
    RouterConfig r{k, 0, 0};
    change(r);
    all.emplace_back(name, r);
  };
  add("sinkhorn", 2, [](RouterConfig& r) { r.select = checkpoint::SinkhornSelect{}; });
  add("published sinkhorn", 2, [](RouterConfig& r) {
    r.select = checkpoint::SinkhornSelect{3, SinkhornForm::published};
  });
  add("base", 1, [](RouterConfig& r) { r.select = checkpoint::BaseSelect{}; });
  add("expert choice", 2, [](RouterConfig& r) {
    r.select = checkpoint::ExpertChoice{}, r.gate = Gate::softmax_before;
  });
  add("capacity", 2, [](RouterConfig& r) { r.capacity = checkpoint::CapacityFactor{0.75}; });
  add("switch", 1, [](RouterConfig& r) { r.gate = Gate::softmax_before; });
  return all;
}

// Gates of the rows of an assignment from scores, token by token.
Tensor naive_gates(const RouterConfig& config, const Tensor& z_NE, const ops::Assignment& routed) {
  std::vector<Tensor> all = {torch::zeros({0}, z_NE.options().requires_grad(false))};
  for (std::int64_t n = 0; n < z_NE.size(0); ++n) {
    const std::int64_t first = routed.first_N1[n].item<int>(),
                       count = routed.first_N1[n + 1].item<int>() - first;
    const Tensor mine = routed.expert_R.narrow(0, first, count).to(torch::kInt64), z = z_NE[n];
    Tensor g;
    if (config.gate == Gate::sigmoid) g = (1 / (1 + (-z).exp())).index_select(0, mine);
    if (config.gate == Gate::softmax_before) g = (z.exp() / z.exp().sum()).index_select(0, mine);
    if (config.gate == Gate::softmax_after) {
      const Tensor e = z.index_select(0, mine).exp();
      g = e / e.sum();
    }
    if (config.gate == Gate::sparsemax) g = sparsemax(z.unsqueeze(0))[0].index_select(0, mine);
    if (config.gate == Gate::one) g = torch::ones({count}, z.options().requires_grad(false));
    all.push_back(config.renormalise ? g / g.sum() : g);
  }
  return torch::cat(all);
}

// Value and gradients of a layer with this router, whose parameters are x, up, down, router weight and
// `more`, against plain expressions in double; `scores` makes z of them.
using Names = std::vector<std::string>;
void check_layer(const RouterConfig& router, const testing::Expression& scores,
                 const Names& more_names, const Tensors& more, const RouterCell* cell = nullptr) {
  Layer layer;
  layer.config.router = router, layer.cell = cell;
  Tensors inputs = {fill_double(1, {7, 4}), fill_double(2, {4, 3, 4}), fill_double(3, {4, 4, 3}),
                    fill_double(4, {4, 4})};
  inputs.insert(inputs.end(), more.begin(), more.end());
  ops::Assignment routed;
  testing::check_operation(
      [&](const Tensors& f) {
        layer.x = f[0], layer.up = f[1], layer.down = f[2], layer.router = f[3];
        for (std::size_t i = 0; i < more_names.size(); ++i) layer.more[more_names[i]] = f[4 + i];
        const testing::LayerResult result = layer.run();
        routed = result.assignment;
        return result.y_ND;
      },
      [&](const Tensors& d) {
        const Tensor gate_R = naive_gates(router, scores(d), routed);
        return testing::naive_bank(d[0], d[1], d[2], {4, routed.first_N1, routed.expert_R, gate_R});
      },
      inputs);
}

TEST(Router, EveryGateAndSelectionHasTheGradientsOfThePlainExpression) {
  for (const auto& [name, router] : learned_routers()) {
    SCOPED_TRACE(name);
    // A gate that is always 1 has no gradient at all, and nothing to compare.
    if (router.experts_per_token == 1 && router.renormalise) continue;
    check_layer(router, [](const Tensors& d) { return d[0].matmul(d[3].t()); }, {}, {});
  }
}

TEST(Router, BiasHasTheGradientsOfThePlainExpression) {
  RouterConfig router{2, 0, 0};
  router.score = checkpoint::LinearScore{true};
  check_layer(router, [](const Tensors& d) { return d[0].matmul(d[3].t()) + d[4]; },
              {"router.bias"}, {fill_double(8, {4})});
}

TEST(Router, NoiseHasTheGradientsOfThePlainExpression) {
  const Pass pass = test_pass(true);
  const Rng rng = pass.rng(Purpose::router_noise, site(0, Site::experts));
  RouterConfig router{2, 0, 0};
  router.gate = Gate::softmax_after;
  const Tensor normal = ops::normal_numbers(7, 4, rng, pass).to(torch::kFloat64);
  router.noise = checkpoint::LearnedNoise{};
  check_layer(router,
              [&](const Tensors& d) {
                return d[0].matmul(d[3].t()) + normal * (1 + d[0].matmul(d[4].t()).exp()).log();
              },
              {"router.noise.weight"}, {fill_double(8, {4, 4})});
  router.noise = checkpoint::NormalNoise{0.7};
  check_layer(router, [&](const Tensors& d) { return d[0].matmul(d[3].t()) + 0.7 * normal; }, {},
              {});
  router.noise = checkpoint::JitterNoise{0.2};
  const Tensor factor = 0.8 + 0.4 * ops::uniform_numbers(7, 4, rng, pass).to(torch::kFloat64);
  check_layer(router, [&](const Tensors& d) { return (d[0] * factor).matmul(d[3].t()); }, {}, {});
}

TEST(Router, NoiseIsOfTrainingAloneAndTheSameForAStep) {
  for (const checkpoint::NoiseConfig& noise :
       {checkpoint::NoiseConfig(checkpoint::JitterNoise{0.5}), {checkpoint::NormalNoise{2}}}) {
    Layer layer;
    const Tensor without = layer.run(false).y_ND;
    layer.config.router.noise = noise;
    EXPECT_TRUE(layer.run(false).y_ND.equal(without)) << noise.kind();
    const Tensor noisy = layer.run().y_ND;
    EXPECT_FALSE(noisy.allclose(without, 1e-3, 1e-3)) << noise.kind();
    EXPECT_TRUE(layer.run().y_ND.equal(noisy)) << noise.kind();
    Pass later = test_pass(true);
    later.step = 1;
    EXPECT_FALSE(run_layer(layer.made(), layer.x, later).y_ND.equal(noisy)) << noise.kind();
  }
}

TEST(Router, PermutingExpertsChangesNothing) {
  const Tensor order = torch::tensor({2, 0, 3, 1});
  for (const auto& [name, router] : learned_routers()) {
    Layer layer;
    layer.config.router = router;
    layer.config.router.entropy_weight = 0.3;
    layer.config.router.balance = {checkpoint::SwitchLoss{0.5}, checkpoint::ZLoss{0.1},
                                   checkpoint::ImportanceLoss{0.2}};
    const auto before = layer.run();
    layer.up = layer.up.index_select(0, order), layer.down = layer.down.index_select(0, order),
    layer.router = layer.router.index_select(0, order);
    const auto after = layer.run();
    expect_close(after.y_ND, before.y_ND, 1e-6, name);
    EXPECT_NEAR(after.penalty.item<double>(), before.penalty.item<double>(), 1e-6) << name;
  }
}

TEST(Router, PermutingTokensPermutesTheOutputWhereNoneComesFirst) {
  const Tensor order = torch::tensor({3, 1, 5, 0, 2, 4});
  for (const auto& [name, router] : learned_routers()) {
    if (name == "capacity") continue;  // which the first tokens fill
    Layer layer;
    layer.config.router = router;
    const Tensor before = layer.run().y_ND;
    layer.x = layer.x.index_select(0, order);
    expect_close(layer.run().y_ND, before.index_select(0, order), 1e-6, name);
  }
}

TEST(Router, EqualScoresOneTokenAndNoTokensGiveNumbers) {
  for (const auto& [name, router] : learned_routers())
    for (const std::int64_t tokens : {0, 1, 6}) {
      Layer layer;
      layer.config.router = router;
      layer.config.router.entropy_weight = 0.1;
      layer.config.router.balance = {checkpoint::SwitchLoss{}, checkpoint::ImportanceLoss{},
                                     checkpoint::ZLoss{}};
      layer.router = torch::zeros({4, 4}).requires_grad_();
      layer.x = fill(1, {tokens, 4}).requires_grad_();
      layer.up.requires_grad_(), layer.down.requires_grad_();
      const auto result = layer.run();
      ASSERT_EQ(result.y_ND.sizes(), layer.x.sizes()) << name;
      EXPECT_TRUE(result.y_ND.isfinite().all().item<bool>()) << name;
      EXPECT_EQ(result.penalty.defined(), tokens > 0) << name;
      if (tokens == 0) continue;
      (result.y_ND.sum() + result.penalty).backward();
      for (const Tensor& leaf : {layer.x, layer.up, layer.down, layer.router}) {
        ASSERT_TRUE(leaf.grad().defined()) << name;
        EXPECT_TRUE(leaf.grad().isfinite().all().item<bool>()) << name;
      }
    }
}

TEST(Router, EveryExpertEmptyButOneGivesThatExpertsOutput) {
  // Scores that all choose expert 2.
  for (const auto& [name, router] : learned_routers()) {
    if (router.experts_per_token != 1 || router.select.get_if<checkpoint::BaseSelect>()) continue;
    Layer layer;
    layer.config.router = router;
    layer.x = fill(1, {6, 4}).abs() + 0.1;
    layer.router = torch::zeros({4, 4});
    layer.router[2] = 30;
    layer.up.requires_grad_(), layer.down.requires_grad_();
    const auto result = layer.run();
    EXPECT_EQ(ints(rows_per_expert(result.assignment)), (std::vector<int>{0, 0, 6, 0})) << name;
    expect_close(result.y_ND,
                 torch::relu(layer.x.matmul(layer.up[2].t())).matmul(layer.down[2].t()), 1e-5,
                 name);
    result.y_ND.sum().backward();
    for (const int e : {0, 1, 3})
      EXPECT_TRUE(layer.up.grad()[e].eq(0).all().item<bool>()) << name << e;
  }
}

TEST(Router, AllExpertsHiddenGivesZeroAndNoNan) {
  for (const auto& [name, router] : learned_routers()) {
    Layer layer;
    layer.config.router = router;
    layer.config.router.expert_dropout = 1;
    layer.config.router.balance = {checkpoint::ImportanceLoss{}};
    layer.router.requires_grad_();
    const auto result = layer.run();
    EXPECT_TRUE(result.y_ND.eq(0).all().item<bool>()) << name;
    (result.y_ND.sum() + result.penalty).backward();
    EXPECT_TRUE(layer.router.grad().isfinite().all().item<bool>()) << name;
  }
}

TEST(Router, ThreadsDoNotChangeABit) {
  for (auto [name, router] : learned_routers()) {
    router.noise = checkpoint::NormalNoise{0.3};
    router.balance = {checkpoint::SwitchLoss{}, checkpoint::ImportanceLoss{}};
    Layer layer;
    layer.config.router = router;
    layer.x = fill(1, {400, 4});
    const auto results = [&](int threads) {
      layer.router = fill(4, {4, 4}).requires_grad_();
      const auto result = run_layer(layer.made(), layer.x, test_pass(true, threads));
      (result.y_ND.square().sum() + result.penalty).backward();
      return Tensors{result.y_ND, result.penalty, layer.router.grad()};
    };
    const Tensors one = results(1), three = results(3);
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(one[i].equal(three[i])) << name << i;
  }
}

TEST(Router, SelectsByRawScoresOutsideTraining) {
  for (const checkpoint::SelectConfig& select :
       {checkpoint::SelectConfig(checkpoint::SinkhornSelect{}),
        {checkpoint::BaseSelect{}},
        {checkpoint::ExpertChoice{checkpoint::Scope::batch, checkpoint::ChoiceElsewhere::topk}}}) {
    Layer layer;
    layer.config.router.experts_per_token = 1;
    const auto plain = layer.run(false);
    // All tokens alike would go to one expert.
    layer.x = layer.x[0].expand({6, 4}).contiguous();
    const auto crowded = layer.run(false);
    layer.config.router.select = select;
    EXPECT_TRUE(layer.run(false).y_ND.equal(crowded.y_ND)) << select.kind();
    EXPECT_LE(rows_per_expert(layer.run().assignment).max().item<int>(), 6);
    if (select.get_if<checkpoint::BaseSelect>()) {
      EXPECT_EQ(rows_per_expert(layer.run().assignment).max().item<int>(), 2);
    }
  }
}

// What a layer in training selects, of two sequences of three tokens.
ops::Assignment routed_as_two(const Layer& layer) {
  testing::Assignments observer;
  Pass pass = test_pass(true);
  pass.observer = &observer;
  ForwardState state(pass);
  state.ids_BT = torch::zeros({2, 3}, torch::kInt64);
  layer.made().forward(layer.x, state);
  return observer.last;
}

TEST(Router, SelectsByBalancedScoresInTraining) {
  Layer layer;
  const Tensor z = layer.x.matmul(layer.router.t());
  for (const SinkhornForm form : {SinkhornForm::correct, SinkhornForm::published}) {
    const Tensor by_sequence = sinkhorn(z.view({2, 3, 4}), 3, form).view({6, 4}),
                 by_batch = sinkhorn(z, 3, form);
    for (const auto& [over, plan] : {std::pair{checkpoint::Scope::sequence, by_sequence},
                                     {checkpoint::Scope::batch, by_batch}}) {
      layer.config.router.select = checkpoint::SinkhornSelect{3, form, over};
      EXPECT_EQ(ints(routed_as_two(layer).expert_R), ints(std::get<1>(plan.topk(2, -1))));
    }
  }
  layer.config.router.experts_per_token = 1;
  layer.config.router.select = checkpoint::BaseSelect{};
  EXPECT_EQ(ints(routed_as_two(layer).expert_R), ints(ops::balanced_assignment(z, test_pass())));
}

TEST(Router, LetsExpertsCompareTokensByTheirGates) {
  Layer layer;
  const Tensor z = layer.x.matmul(layer.router.t());
  layer.config.router.gate = Gate::softmax_before;
  for (const auto& [over, group] :
       {std::pair{checkpoint::Scope::batch, 6}, {checkpoint::Scope::sequence, 3}}) {
    layer.config.router.select = checkpoint::ExpertChoice{over};
    const ops::Assignment routed = routed_as_two(layer);
    const Selection want = select_by_experts(torch::log_softmax(z, -1), 2, group, test_pass());
    EXPECT_EQ(ints(routed.expert_R), ints(want.expert_R));
    EXPECT_EQ(ints(routed.first_N1), ints(want.first_N1));
  }
  EXPECT_NE(ints(select_by_experts(torch::log_softmax(z, -1), 2, 6, test_pass()).first_N1),
            ints(select_by_experts(z, 2, 6, test_pass()).first_N1))
      << "raw scores would be told apart here";
}

TEST(Router, HiddenExpertsAreTakenLastWithGateZero) {
  for (const auto& [name, router] : learned_routers()) {
    Layer layer;
    layer.config.router = router;
    layer.config.router.expert_dropout = 0.4;
    layer.x = fill(1, {200, 4});
    const Pass pass = test_pass(true);
    const Tensor keep_NE = ops::bernoulli_mask(
        200, 4, 0.4, pass.rng(Purpose::expert_dropout, site(0, Site::experts)), pass);
    const ops::Assignment routed = layer.run().assignment;
    const Selection rows{routed.first_N1, routed.expert_R, 0};
    const Tensor kept_R = keep_NE.view(-1).index_select(0, rows.token_expert_R(4)),
                 hidden_R = kept_R == 0;
    EXPECT_TRUE(routed.gate_R.masked_select(hidden_R).eq(0).all().item<bool>()) << name;
    if (router.select.get_if<checkpoint::BaseSelect>() ||
        router.select.get_if<checkpoint::ExpertChoice>())
      continue;  // which must fill all experts
    // A token has a hidden expert only where fewer than K are left.
    const Tensor left_N = keep_NE.sum(-1),
                 left_R = torch::repeat_interleave(left_N, routed.first_N1.diff(), 0);
    EXPECT_TRUE((left_R.masked_select(hidden_R) < static_cast<double>(router.experts_per_token))
                    .all()
                    .item<bool>())
        << name;
  }
}

// specs/sparse-ffn 7.4.
TEST(Router, OfOneExpertATokenLearnsBySoftmaxBeforeAndNotAfter) {
  for (const bool after : {false, true}) {
    Layer layer;
    layer.config.router.experts_per_token = 1;
    layer.config.router.gate = after ? Gate::softmax_after : Gate::softmax_before;
    layer.router.requires_grad_();
    const auto result = layer.run();
    const Tensor p = torch::softmax(layer.x.matmul(layer.router.t()), -1);
    expect_close(result.assignment.gate_R, after ? torch::ones({6}) : std::get<0>(p.max(-1)), 1e-6);
    result.y_ND.sum().backward();
    EXPECT_EQ(layer.router.grad().abs().max().item<double>() > 1e-6, !after);
    layer.config.router.entropy_weight = 1;
    layer.router.mutable_grad() = Tensor();
    layer.run().penalty.backward();
    EXPECT_GT(layer.router.grad().abs().max().item<double>(), 1e-6) << "the regulariser moves it";
  }
}

TEST(Router, CapacityDropsRowsInTrainingAndElsewhereWhereAsked) {
  Layer layer;
  layer.x = layer.x[0].expand({6, 4}).contiguous();
  layer.config.router.experts_per_token = 1;
  layer.config.router.capacity = checkpoint::CapacityCount{2, checkpoint::Scope::batch, false};
  const auto trained = layer.run();
  EXPECT_EQ(ints(trained.assignment.first_N1), (std::vector<int>{0, 1, 2, 2, 2, 2, 2}));
  EXPECT_TRUE(trained.y_ND.narrow(0, 2, 4).eq(0).all().item<bool>()) << "dropped tokens get 0";
  EXPECT_TRUE(trained.y_ND[0].ne(0).any().item<bool>());
  EXPECT_EQ(layer.run(false).assignment.rows(), 6);
  layer.config.router.capacity = checkpoint::CapacityCount{2, checkpoint::Scope::batch, true};
  EXPECT_EQ(layer.run(false).assignment.rows(), 2);
  // 6 tokens / 4 experts, times 1.4, is 2.1.
  layer.config.router.capacity = checkpoint::CapacityFactor{1.4};
  EXPECT_EQ(layer.run().assignment.rows(), 2);
}

TEST(Router, CountsByTheSequencesOfTheBatch) {
  Layer layer;
  layer.x = layer.x[0].expand({6, 4}).contiguous();
  layer.config.router.experts_per_token = 1;
  layer.config.router.capacity = checkpoint::CapacityCount{1, checkpoint::Scope::sequence, false};
  const Pass pass = test_pass(true);
  ForwardState state(pass);
  state.ids_BT = torch::zeros({3, 2}, torch::kInt64);
  const Mixture made = layer.made();
  const Tensor zero_N = made.forward(layer.x, state).eq(0).all(-1);
  EXPECT_EQ(ints(zero_N), (std::vector<int>{0, 1, 0, 1, 0, 1})) << "the first of each sequence";
}

TEST(Router, HashSendsTokensByTheirIds) {
  Layer layer;
  layer.config.router = {1, 0, 0};
  layer.config.router.gate = Gate::one;
  layer.config.router.score = checkpoint::HashScore{1, {3, 1, 0}};
  Mixture made(layer.config, {0, 1, 4, 1});
  Setter setter({{"experts.up", layer.up}, {"experts.down", layer.down}});
  made.visit("ff", setter);
  const Pass pass = test_pass(true);
  ForwardState state(pass);
  EXPECT_THROW(made.forward(layer.x, state), Error) << "no ids";
  state.ids_BT = torch::tensor({{0, 1, 2}, {2, 1, 0}});
  const Tensor y = made.forward(layer.x, state);
  const std::vector<std::int64_t> experts = {3, 1, 0, 0, 1, 3};
  for (std::int64_t n = 0; n < 6; ++n) {
    const std::int64_t e = experts[static_cast<std::size_t>(n)];
    expect_close(y[n], layer.down[e].matmul(torch::relu(layer.up[e].matmul(layer.x[n]))), 1e-5);
  }
}

// ---- gradients of the losses ----------------------------------------------------------------------

TEST(BalancingLosses, HaveTheGradientsOfThePlainExpression) {
  const Tensor noise = fill_double(5, {6, 4}), std = 0.5 + fill_double(6, {6, 4}).abs();
  const auto check = [&](const BalanceConfig& loss, const testing::Expression& naive) {
    SCOPED_TRACE(loss.kind());
    testing::check_operation(
        [&](const Tensors& f) {
          return penalty_of(f[0], 2, Gate::softmax_before, loss, f[0] + noise.to(torch::kFloat32),
                            std.to(torch::kFloat32));
        },
        naive, {fill_double(3, {6, 4})});
  };
  const auto variation = [](const Tensor& x) {
    return (x - x.mean()).square().mean().sqrt() / x.mean();
  };
  // 1 where an expert is among the two best of its token.
  const auto picked = [&](const Tensor& z) {
    const Tensor best = std::get<1>((z + noise).detach().topk(2, -1));
    return torch::zeros(z.sizes(), torch::kFloat64).scatter(1, best, 1.0);
  };
  check(checkpoint::SwitchLoss{0.7}, [&](const Tensors& d) {
    return 0.7 * 4 * (picked(d[0]).mean(0) * torch::softmax(d[0], -1).mean(0)).sum();
  });
  check(checkpoint::ImportanceLoss{0.3, false}, [&](const Tensors& d) {
    return 0.3 * variation((torch::softmax(d[0] + noise, -1) * picked(d[0])).sum(0));
  });
  check(checkpoint::ImportanceLoss{0.3, true}, [&](const Tensors& d) {
    return 0.3 * variation((torch::softmax(d[0] + noise, -1) * picked(d[0])).sum(0)).square();
  });
  check(checkpoint::LoadLoss{0.3, false}, [&](const Tensors& d) {
    const Tensor best = std::get<0>((d[0] + noise).topk(3, -1)), in = picked(d[0]) > 0;
    const Tensor threshold = torch::where(in, best.narrow(1, 2, 1), best.narrow(1, 1, 1));
    return 0.3 *
           variation((0.5 * (1 + torch::erf((d[0] - threshold) / std / std::sqrt(2.0)))).sum(0));
  });
  check(checkpoint::ZLoss{0.3},
        [&](const Tensors& d) { return 0.3 * d[0].exp().sum(-1).log().square().mean(); });
}

// ---- recurrent ------------------------------------------------------------------------------------

struct CellValues {
  Tensor wi, wh, bi, bh;
};

// The vector of specs/related 2.
CellValues published_cell() {
  return {torch::tensor({{.1, -.2}, {.3, .4}, {-.3, .2}, {.1, .1}, {.6, -.5}, {.2, .7}},
                        torch::kFloat32),
          torch::tensor({{.5, 0.}, {-.1, .2}, {.2, .1}, {0., -.4}, {-.3, .4}, {.5, .1}},
                        torch::kFloat32),
          torch::tensor({.01, -.02, .05, 0., 0., .1}, torch::kFloat32),
          torch::tensor({0., .03, -.01, .02, .2, -.1}, torch::kFloat32)};
}

void set_cell(RouterCell& cell, const CellValues& v) {
  Setter setter({{"input.weight", v.wi},
                 {"hidden.weight", v.wh},
                 {"input.bias", v.bi},
                 {"hidden.bias", v.bh}});
  cell.visit("router_cell", setter);
}

TEST(RouterCell, MatchesThePublishedVector) {
  RouterCell cell(2);
  set_cell(cell, published_cell());
  const Tensor first = cell.next(torch::tensor({{1.f, -2.f}}), {});
  expect_values(first, {.618688, -.423134}, 1e-6);
  const Tensor second = cell.next(torch::tensor({{.5f, .25f}}), first);
  expect_values(second, {.354754, -.051417}, 1e-6);
  const Tensor z = second.matmul(torch::tensor({{1.f, .5f}, {0.f, -1.f}, {-1.f, 2.f}}).t());
  expect_values(torch::softmax(z, -1), {.451885, .342338, .205777}, 1e-6);
  expect_values(gates_of(z, 2, Gate::softmax_before, true), {.568965, .431035}, 1e-6);
}

Tensor naive_cell(const Tensor& x, const Tensor& h, const CellValues& v) {
  const auto part = [](const Tensor& t, std::int64_t i) {
    const std::int64_t p = t.size(0) / 3;
    return t.narrow(0, i * p, p);
  };
  const auto input = [&](std::int64_t i) { return x.matmul(part(v.wi, i).t()) + part(v.bi, i); };
  const auto hidden = [&](std::int64_t i) { return h.matmul(part(v.wh, i).t()) + part(v.bh, i); };
  const auto sigma = [](const Tensor& t) { return 1 / (1 + (-t).exp()); };
  const Tensor r = sigma(input(0) + hidden(0)), z = sigma(input(1) + hidden(1));
  const Tensor n = torch::tanh(input(2) + r * hidden(2));
  return (1 - z) * n + z * h;
}

// Two mixtures with a recurrent router each, a layer between that has none, one state.
struct TwoLayers {
  checkpoint::Mixture config{4, 3, {2, 0, 0}};
  RouterCell cell{3};

  TwoLayers() {
    config.router.score = checkpoint::RecurrentScore{3};
    config.router.gate = Gate::softmax_before, config.router.renormalise = true;
  }
  // f: x, cell (4), then of each layer: up, down, P, G.
  Tensor run(const Tensors& f, std::vector<ops::Assignment>& routed) {
    set_cell(cell, {f[1], f[2], f[3], f[4]});
    testing::Assignments observer;
    Pass pass = test_pass(true);
    pass.observer = &observer;
    ForwardState state(pass);
    Tensor x = f[0];
    for (const std::size_t at : {5, 9}) {
      Mixture layer(config, {0, 1, 4, 1, &cell});
      Setter setter({{"experts.up", f[at]},
                     {"experts.down", f[at + 1]},
                     {"router.project.weight", f[at + 2]},
                     {"router.weight", f[at + 3]}});
      layer.visit("ff", setter);
      x = x + layer.forward(x, state);
      routed.push_back(observer.last);
    }
    return x;
  }
};

Tensors two_layers_inputs() {
  Tensors inputs = {fill_double(1, {5, 4}), fill_double(2, {9, 3}), fill_double(3, {9, 3}),
                    fill_double(4, {9}), fill_double(5, {9})};
  for (const int s : {10, 30})
    for (const auto& shape : {std::vector<std::int64_t>{4, 3, 4}, {4, 4, 3}, {3, 4}, {4, 3}})
      inputs.push_back(fill_double(s + static_cast<int>(inputs.size()), shape));
  return inputs;
}

TEST(RecurrentRouter, HandsItsStateOnWithTheGradientsOfThePlainExpression) {
  TwoLayers layers;
  std::vector<ops::Assignment> routed;
  testing::check_operation(
      [&](const Tensors& f) { return layers.run(f, routed); },
      [&](const Tensors& d) {
        Tensor x = d[0], h = torch::zeros({5, 3}, torch::kFloat64);
        for (const std::size_t i : {0, 1}) {
          const std::size_t at = 5 + 4 * i;
          h = naive_cell(x.matmul(d[at + 2].t()), h, {d[1], d[2], d[3], d[4]});
          const Tensor gate_R =
              naive_gates(layers.config.router, h.matmul(d[at + 3].t()), routed[i]);
          x = x + testing::naive_bank(x, d[at], d[at + 1],
                                      {4, routed[i].first_N1, routed[i].expert_R, gate_R});
        }
        return x;
      },
      two_layers_inputs());
}

TEST(RecurrentRouter, LearnsThroughTheNextLayersRouter) {
  TwoLayers layers;
  std::vector<ops::Assignment> routed;
  Tensors f;
  for (const Tensor& d : two_layers_inputs())
    f.push_back(d.to(torch::kFloat32).clone().requires_grad_());
  f[6] = torch::zeros({4, 4, 3}).requires_grad_();  // the first layer's experts give nothing
  layers.run(f, routed).sum().backward();
  EXPECT_GT(f[7].grad().abs().max().item<double>(), 1e-6);
}

// ---- the unified view -----------------------------------------------------------------------------

struct AvgK {
  std::int64_t experts, width, per_token, dim = 6, rank = 0;
  Tensor up = {}, down = {}, basis = {};

  Mixture made() const {
    checkpoint::Mixture config{experts, width, {per_token, 0, 0}};
    config.router.score = checkpoint::AvgKScore{};
    config.router.gate = Gate::one;
    config.key_rank = rank;
    Mixture layer(config, {0, 1, dim, 1});
    std::map<std::string, Tensor> values = {
        {"experts.up", up}, {"experts.down", down}, {"router.weight", up.detach().mean(1)}};
    if (rank > 0) values["experts.basis.weight"] = basis;
    Setter setter(values);
    layer.visit("ff", setter);
    return layer;
  }
  // Of `units` hidden units in all, in blocks.
  static AvgK of(std::int64_t units, std::int64_t width, std::int64_t per_token) {
    AvgK layer{units / width, width, per_token};
    layer.up = fill(2, {layer.experts, width, layer.dim});
    layer.down = fill(3, {units, layer.dim})
                     .view({layer.experts, width, layer.dim})
                     .transpose(1, 2)
                     .contiguous();
    return layer;
  }
};

Tensor dense(const Tensor& x, const AvgK& layer) {
  const std::int64_t units = layer.experts * layer.width;
  return torch::relu(x.matmul(layer.up.view({units, -1}).t()))
      .matmul(layer.down.transpose(1, 2).reshape({units, -1}));
}

TEST(AvgK, AllBlocksAreTheDenseLayer) {
  const Tensor x = fill(1, {9, 6});
  for (const std::int64_t width : {24, 8, 1}) {
    const AvgK layer = AvgK::of(24, width, 24 / width);
    expect_close(run_layer(layer.made(), x, test_pass()).y_ND, dense(x, layer), 1e-5);
  }
}

TEST(VanillaM, KeepsTheUnitsWithTheLargestProducts) {
  const Tensor x = fill(1, {9, 6});
  const AvgK layer = AvgK::of(24, 1, 5);
  const auto result = run_layer(layer.made(), x, test_pass());
  const Tensor products = x.matmul(layer.up.view({24, 6}).t());
  EXPECT_TRUE(result.assignment.expert_R.view({9, 5})
                  .to(torch::kInt64)
                  .equal(std::get<1>(products.topk(5, -1))));
  const Tensor kept = torch::zeros({9, 24}).scatter(1, std::get<1>(products.topk(5, -1)), 1);
  expect_close(result.y_ND, (kept * torch::relu(products)).matmul(layer.down.select(2, 0)), 1e-5);
}

TEST(AvgK, RanksBlocksByTheirMeanProductAndIgnoresTheirOrder) {
  const Tensor x = fill(1, {9, 6});
  AvgK layer = AvgK::of(24, 4, 2);
  const auto before = run_layer(layer.made(), x, test_pass());
  const Tensor means = x.matmul(layer.up.view({24, 6}).t()).view({9, 6, 4}).mean(-1);
  EXPECT_TRUE(before.assignment.expert_R.view({9, 2})
                  .to(torch::kInt64)
                  .equal(std::get<1>(means.topk(2, -1))));
  EXPECT_TRUE(before.assignment.gate_R.eq(1).all().item<bool>());
  const Tensor order = torch::tensor({5, 2, 0, 3, 1, 4});
  layer.up = layer.up.index_select(0, order), layer.down = layer.down.index_select(0, order);
  expect_close(run_layer(layer.made(), x, test_pass()).y_ND, before.y_ND, 1e-5);
}

TEST(AvgK, HasTheGradientsOfThePlainExpression) {
  ops::Assignment routed;
  testing::check_operation(
      [&](const Tensors& f) {
        AvgK layer{6, 4, 2};
        layer.up = f[1], layer.down = f[2];
        const auto result = run_layer(layer.made(), f[0], test_pass(true));
        routed = result.assignment;
        return result.y_ND;
      },
      [&](const Tensors& d) {
        return testing::naive_bank(
            d[0], d[1], d[2],
            {6, routed.first_N1, routed.expert_R, torch::ones({routed.rows()}, torch::kFloat64)});
      },
      {fill_double(1, {5, 6}), fill_double(2, {6, 4, 6}), fill_double(3, {6, 6, 4})});
}

TEST(AvgK, FollowsTheKeysWhileTheyAreTrainedAndKeepsTheirMeansForPackedOnes) {
  const Tensor x = fill(1, {9, 6});
  AvgK layer = AvgK::of(24, 4, 2);
  layer.up.requires_grad_();
  Mixture made = layer.made();
  {
    const torch::NoGradGuard no_grad;
    layer.up.copy_(fill(77, {6, 4, 6}));
  }
  const auto moved = run_layer(made, x, test_pass());
  const Tensor means = x.matmul(layer.up.detach().view({24, 6}).t()).view({9, 6, 4}).mean(-1);
  EXPECT_TRUE(moved.assignment.expert_R.view({9, 2})
                  .to(torch::kInt64)
                  .equal(std::get<1>(means.topk(2, -1))));
  // Matrices that are not trained may be packed: what routes is what was saved.
  AvgK frozen = AvgK::of(24, 4, 2);
  Mixture other = frozen.made();
  Setter setter({{"experts.up", frozen.up},
                 {"experts.down", frozen.down},
                 {"router.weight", layer.up.detach().mean(1)}});
  other.visit("ff", setter);
  EXPECT_TRUE(
      run_layer(other, x, test_pass()).assignment.expert_R.equal(moved.assignment.expert_R));
  // What a walk that saves sees.
  class Reader final : public ParameterVisitor {
   public:
    Tensor means;
    void matrix(const Parameter&, WeightPtr&) override {}
    void tensor(const Parameter& p, Tensor& value) override {
      EXPECT_EQ(p.name, "ff.router.weight");
      EXPECT_FALSE(p.trainable);
      means = value;
    }
  } reader;
  made.visit("ff", reader);
  expect_close(reader.means, layer.up.detach().mean(1), 1e-6);
}

TEST(LoRKM, HasTheValueAndGradientsOfKeysOfLowRank) {
  ops::Assignment routed;
  testing::check_operation(
      [&](const Tensors& f) {
        AvgK layer{12, 1, 4, 6, 3};
        layer.up = f[1], layer.down = f[2], layer.basis = f[3];
        const auto result = run_layer(layer.made(), f[0], test_pass(true));
        routed = result.assignment;
        return result.y_ND;
      },
      [&](const Tensors& d) {
        const Tensor keys = d[1].matmul(d[3]);  // [E, 1, d]
        const Tensor best = std::get<1>(d[0].matmul(keys.squeeze(1).t()).topk(4, -1));
        EXPECT_TRUE(best.view(-1).equal(routed.expert_R.to(torch::kInt64)));
        return testing::naive_bank(
            d[0], keys, d[2],
            {12, routed.first_N1, routed.expert_R, torch::ones({routed.rows()}, torch::kFloat64)});
      },
      {fill_double(1, {5, 6}), fill_double(2, {12, 1, 3}), fill_double(3, {12, 6, 1}),
       fill_double(4, {3, 6})});
}

// ---- the published routers ------------------------------------------------------------------------

// The settings that docs/papers.md lists, by name.
std::map<std::string, Json> published() {
  const std::string page = read_file(std::filesystem::path(MOTE_SOURCE_DIR) / "docs" / "papers.md");
  const std::size_t section = page.find("\n## Routers\n"), open = page.find("```toml\n", section),
                    close = page.find("```\n", open + 8);
  std::map<std::string, Json> found;
  const Json tables = parse_toml(page.substr(open + 8, close - open - 8), "docs/papers.md");
  for (const auto& [name, settings] : tables.items()) found[name] = settings;
  return found;
}

ModelConfig small_model(const Json& mixture) {
  ModelConfig config;
  config.vocab_size = 30, config.layers = 3, config.dim = 64, config.context = 8;
  config.attention = checkpoint::TransformerXl{2, 8};
  checkpoint::Mixture kind{8, 6, {2, 0, 0}};
  fields_from_json(mixture, kind, {"docs/papers.md", ""});
  config.feed_forward = kind;
  // One dense layer between, which hands the router's state on.
  config.rules.resize(1);
  config.rules[0].read({{"layers", 1}, {"feed_forward", {{"kind", "dense"}, {"width", 20}}}},
                       {"rules", "0"});
  return config;
}

Tensor some_ids(std::int64_t batch, std::int64_t length) {
  return (torch::arange(batch * length) * 7919 % 104729 % 30).view({batch, length});
}

TEST(PublishedRouters, OfThePaperListAreAllThere) {
  const auto all = published();
  for (const char* name :
       {"switch", "switch_2310_10837", "s_base", "base", "expert_choice", "hash", "sparsely_gated",
        "softmax_before", "softmax_after", "normtopk", "rmoe", "avg_k", "vanilla_m", "lorkm"})
    EXPECT_TRUE(all.contains(name)) << name;
}

TEST(PublishedRouters, TrainWithAGradientForEveryParameter) {
  for (const auto& [name, settings] : published()) {
    SCOPED_TRACE(name);
    const auto model = make_model(small_model(settings));
    initialize(*model, 3);
    Memory memory;
    const Tensor ids = some_ids(4, 9);
    const TrainingLoss loss =
        model->loss({ids.narrow(1, 0, 8), ids.narrow(1, 1, 8)}, memory, test_pass(true));
    ASSERT_TRUE(loss.total.isfinite().item<bool>());
    loss.total.backward();
    for (const auto& [parameter, value] : trainable_parameters(*model).tensors) {
      ASSERT_TRUE(value.grad().defined()) << parameter;
      EXPECT_TRUE(value.grad().isfinite().all().item<bool>()) << parameter;
      if (parameter.find("router") != std::string::npos) {
        EXPECT_GT(value.grad().abs().max().item<double>(), 0) << parameter;
      }
    }
  }
}

TEST(PublishedRouters, GiveTheSameLogitsInStepsOfAnySize) {
  for (const auto& [name, settings] : published()) {
    SCOPED_TRACE(name);
    const ModelConfig config = small_model(settings);
    const auto model = make_model(config);
    initialize(*model, 3);
    const Tensor ids = some_ids(2, 21);
    const torch::NoGradGuard no_grad;
    const auto logits = [&](std::int64_t step) {
      Cache cache = model->make_cache();
      const Pass pass = test_pass();
      Tensors parts;
      for (std::int64_t first = 0; first < 21; first += step) {
        ForwardState state(pass);
        state.caches = {&cache};
        const Tensor some = ids.narrow(1, first, std::min(step, 21 - first));
        parts.push_back(model->logits(model->hidden(some, state), pass));
      }
      return torch::cat(parts, 1);
    };
    const Tensor whole = logits(21);
    if (checkpoint::causality_warnings(config).empty()) {
      for (const std::int64_t step : {1, 5}) expect_close(logits(step), whole, 1e-5);
    } else {
      EXPECT_FALSE(logits(1).allclose(whole, 1e-3, 1e-3)) << "warned of without need";
    }
  }
}

TEST(PublishedRouters, HaveAsManyParametersAsTheirPapersSay) {
  // specs/related 2: L p (d + E) + 6 p^2 + 6 p.
  ModelConfig config = small_model(published().at("rmoe"));
  config.rules.clear();
  config.layers = 8, config.dim = 352;
  auto& mixture = *config.feed_forward.get_if<checkpoint::Mixture>();
  mixture.experts = 16;
  const ParameterCounts with = count_parameters(config);
  mixture.router.score = checkpoint::LinearScore{};
  const ParameterCounts without = count_parameters(config);
  EXPECT_EQ(with.total - without.total + 8 * 352 * 16, 475904);
  EXPECT_EQ(with.feed_forward - without.feed_forward, with.total - without.total);
}

}  // namespace
}  // namespace mote::model
