#include "model/usage.h"

#include <map>
#include <set>

#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::test_pass;
namespace ck = checkpoint;

ops::Assignment rows_to(const std::vector<std::int32_t>& experts,
                        const std::vector<std::int32_t>& first, const std::vector<float>& gates) {
  return {4, torch::tensor(first, torch::kInt32), torch::tensor(experts, torch::kInt32),
          torch::tensor(gates)};
}
ops::Assignment rows_to(const std::vector<std::int32_t>& experts,
                        const std::vector<std::int32_t>& first) {
  return rows_to(experts, first, std::vector<float>(experts.size(), 1));
}

// specs/peer.md 6, check 6.
TEST(Usage, UnevennessOfTheVectorIsThePublishedOne) {
  EXPECT_EQ(usage_of({3, 1, 0, 0}), 0.5);
  EXPECT_NEAR(unevenness_of({3, 1, 0, 0}), 0.82395922, 5e-9);
  EXPECT_NEAR(unevenness_of({2, 2, 2, 2}), 0, 1e-15);
  EXPECT_NEAR(unevenness_of({0, 5, 0, 0}), std::log(4.0), 1e-15);
}

TEST(Usage, PerplexityCountsRowsWhateverTokensHave) {
  EXPECT_NEAR(relative_perplexity({2, 2, 2, 2}), 1, 1e-12);
  EXPECT_NEAR(relative_perplexity({0, 0, 3, 0}), 0.25, 1e-12);
  EXPECT_EQ(relative_perplexity({0, 0}), 0);
}

TEST(Usage, WeighsByGateAndCountsRows) {
  UsageCount count(true);
  count.routed("a", rows_to({0, 1, 1, 3}, {0, 2, 2, 4}, {.5f, 0, .25f, .25f}));
  const LayerUsage& a = count.layers().at(0);
  EXPECT_EQ(a.count_E, (std::vector<std::int64_t>{1, 2, 0, 1}));
  EXPECT_EQ(a.weight_E, (std::vector<double>{.5, .25, 0, .25}));
  EXPECT_EQ(a.tokens, 3);
  EXPECT_EQ(a.dead(), 0.25);
  EXPECT_NEAR(a.active().mean(), 1, 1e-12) << "gates above 0: one, none and two";
  EXPECT_NEAR(a.active().deviation(), std::sqrt(2.0 / 3), 1e-12);
}

TEST(Usage, OfALayerWithoutRowsIsNothing) {
  UsageCount count(true);
  count.routed("a", rows_to({}, {0, 0, 0}));
  const LayerUsage& a = count.layers().at(0);
  EXPECT_EQ(a.usage(), 0);
  EXPECT_EQ(a.unevenness(), 0);
  EXPECT_EQ(a.dead(), 1);
}

TEST(Usage, OverlapComparesATokensExpertsInLayersThatFollow) {
  UsageCount count(true);
  for (int pass = 0; pass < 2; ++pass) {
    count.routed("a", rows_to({0, 1, 2, 3}, {0, 2, 4}));
    count.routed("b", rows_to({1, 0, 2, 2}, {0, 2, 4}));
  }
  EXPECT_FALSE(count.layers()[0].overlap().has_value()) << "nothing comes before it in a pass";
  EXPECT_NEAR(count.layers()[1].overlap().value(), 1, 1e-12) << "both of two, and the only one";
  EXPECT_EQ(count.layers()[1].together_EE[2 * 4 + 2], 2) << "a token that picks one twice is one";
}

// Keeps what it is told, to be counted in other ways.
class Recorder final : public Observer {
 public:
  void routed(const std::string& name, const ops::Assignment& assignment) override {
    seen[name].push_back(assignment);
  }
  std::map<std::string, std::vector<ops::Assignment>> seen;
};

ModelConfig config_of(const ck::FeedForwardConfig& feed_forward) {
  ModelConfig config;
  config.vocab_size = 40;
  config.layers = 3;
  config.dim = 16;
  config.context = 10;
  config.attention = ck::TransformerXl{2, 4, 1, 1};
  config.feed_forward = feed_forward;
  return config;
}

void watch(const Model& model, Observer& observer) {
  const torch::NoGradGuard no_grad;
  Pass pass = test_pass();
  pass.observer = &observer;
  for (int part = 0; part < 2; ++part) {
    Cache cache = model.make_cache();
    ForwardState state(pass);
    state.caches = {&cache};
    model.hidden((torch::arange(20, torch::kInt64) * (7 + part)).remainder(40).view({1, 20}),
                 state);
  }
}

// The numbers of a report, counted again with LibTorch's operators over whole tables.
void expect_recount(const ck::FeedForwardConfig& feed_forward) {
  const auto model = make_model(config_of(feed_forward));
  initialize(*model, 3);
  UsageCount count(true);
  Recorder recorder;
  watch(*model, count);
  watch(*model, recorder);
  ASSERT_EQ(count.layers().size(), 3u);
  Tensor before;
  for (const LayerUsage& usage : count.layers()) {
    SCOPED_TRACE(usage.layer);
    const auto& passes = recorder.seen.at(usage.layer);
    const std::int64_t experts = passes[0].num_experts;
    std::vector<Tensor> used, gates, rows;
    for (const ops::Assignment& a : passes) {
      const std::int64_t k = a.rows() / a.tokens();
      const Tensor expert = a.expert_R.to(torch::kInt64).view({-1, k});
      used.push_back(torch::zeros({a.tokens(), experts}).scatter_(1, expert, 1.0));
      rows.push_back(
          torch::zeros({a.tokens(), experts}).scatter_add_(1, expert, torch::ones({20, k})));
      gates.push_back(
          torch::zeros({a.tokens(), experts}).scatter_add_(1, expert, a.gate_R.view({-1, k})));
    }
    const Tensor set = torch::cat(used), z = torch::cat(gates).to(torch::kFloat64).sum(0);
    const Tensor share = z / z.sum(), times = torch::cat(rows).to(torch::kFloat64).sum(0),
                 counts = times / times.sum();
    const auto n = static_cast<double>(experts);
    EXPECT_NEAR(usage.usage(), (z > 0).to(torch::kFloat64).mean().item<double>(), 1e-12);
    EXPECT_NEAR(usage.unevenness(), std::log(n) + torch::xlogy(share, share).sum().item<double>(),
                1e-6);
    EXPECT_NEAR(usage.perplexity(),
                std::exp(-torch::xlogy(counts, counts).sum().item<double>()) / n, 1e-9);
    EXPECT_NEAR(usage.dead(), (times == 0).to(torch::kFloat64).mean().item<double>(), 1e-12);
    EXPECT_TRUE(torch::tensor(usage.together_EE, torch::kInt64)
                    .view({experts, experts})
                    .equal(set.t().matmul(set).to(torch::kInt64)));
    if (before.defined()) {
      EXPECT_NEAR(usage.overlap().value(),
                  ((set * before).sum(1) / set.sum(1)).mean().item<double>(), 1e-6);
    }
    before = set;
  }
}

TEST(Usage, OfMixturesEqualsARecountFromTheAssignments) {
  ck::Mixture mixture;
  mixture.experts = 6, mixture.expert_width = 5, mixture.router.experts_per_token = 2;
  expect_recount(mixture);
}

TEST(Usage, OfProductKeyMemoriesEqualsARecountFromTheAssignments) {
  ck::ProductKey memory;
  memory.values = 25;
  memory.router.heads = 2, memory.router.experts_per_head = 3;
  expect_recount(memory);
}

TEST(Usage, OfPeerEqualsARecountFromTheAssignments) {
  ck::Peer peer;
  peer.experts = 36;
  peer.router.heads = 2, peer.router.experts_per_head = 4;
  peer.router.query = ck::LinearQuery{6};
  expect_recount(peer);
}

// Hidden units, as the weight behind them is told of.
class HiddenUnits final : public Observer {
 public:
  bool wants(const std::string& name) const override { return name.find(".up") != name.npos; }
  void saw(const std::string& name, const Tensor& x, const ops::StackRows&) override {
    inputs[name].push_back(x.detach().clone());
  }
  std::map<std::string, std::vector<Tensor>> inputs;
};

TEST(Usage, ActiveChannelsAreThoseThatTheFormulaLeavesAboveZero) {
  const auto model = make_model(config_of(ck::Dense{30}));
  initialize(*model, 3);
  class Weights final : public ParameterVisitor {
   public:
    void matrix(const Parameter& p, WeightPtr& weight) override {
      if (weight->leaf().defined()) values[p.name] = weight->leaf().detach();
    }
    void tensor(const Parameter& p, Tensor& value) override { values[p.name] = value.detach(); }
    std::map<std::string, Tensor> values;
  } weights;
  model->visit(weights);
  UsageCount count(true);
  HiddenUnits hidden;
  watch(*model, count);
  watch(*model, hidden);
  ASSERT_EQ(count.layers().size(), 3u);
  for (const LayerUsage& usage : count.layers()) {
    const std::string up = usage.layer + ".up.weight";
    const Tensor x = torch::cat(hidden.inputs.at(up)).view({-1, 16});
    const Tensor u =
        x.matmul(weights.values.at(up).t()) + weights.values.at(usage.layer + ".up.bias");
    const Tensor active = (u > 0).sum(1).to(torch::kFloat64);
    EXPECT_NEAR(usage.active().mean(), active.mean().item<double>(), 1e-9);
    EXPECT_NEAR(usage.active().deviation(), active.std(false).item<double>(), 1e-6);
    EXPECT_EQ(usage.experts, 0);
  }
}

TEST(Usage, ActiveChannelsOfAMixtureAreOfItsChosenExperts) {
  ck::Mixture mixture;
  mixture.experts = 6, mixture.expert_width = 5, mixture.router.experts_per_token = 2;
  const auto model = make_model(config_of(mixture));
  initialize(*model, 3);
  UsageCount count(true);
  watch(*model, count);
  for (const LayerUsage& usage : count.layers()) {
    EXPECT_EQ(usage.hidden.tokens, 40);
    EXPECT_GT(usage.active().mean(), 1);
    EXPECT_LT(usage.active().mean(), 10);
  }
}

}  // namespace
}  // namespace mote::model
