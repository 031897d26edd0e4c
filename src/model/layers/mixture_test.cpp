#include "model/layers/mixture.h"

#include "tests/support/live_memory.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::expect_close;
using testing::expect_values;
using testing::fill;
using testing::fill_double;
using testing::run_layer;
using testing::Setter;
using testing::test_pass;

struct Sizes {
  std::int64_t dim;
  checkpoint::Mixture config;
  Mixture layer() const { return {config, {0, 1, dim, 1}}; }
};

Sizes mixture_config(std::int64_t dim, std::int64_t experts, std::int64_t width,
                     std::int64_t per_token) {
  return {dim, {experts, width, {per_token, 0, 0}}};
}

// The layer of vector A: N=6, d=4, E=4, G=3, K=2. The spec stores W1 as [E, d, G] and W2 as [E, G,
// d].
struct VectorA {
  Tensor x = fill(1, {6, 4}).requires_grad_();
  Tensor w1 = fill(2, {4, 4, 3}).requires_grad_();
  Tensor w2 = fill(3, {4, 3, 4}).requires_grad_();
  Tensor w3 = fill(4, {4, 4}).requires_grad_();
  Tensor dy = fill(5, {6, 4});
  Sizes sizes = mixture_config(4, 4, 3, 2);

  VectorA() { sizes.config.router.entropy_weight = 0.1; }
  Mixture layer() const {
    Mixture mixture = sizes.layer();
    Setter setter({{"router.weight", w3},
                   {"experts.up", w1.transpose(1, 2)},
                   {"experts.down", w2.transpose(1, 2)}});
    mixture.visit("ff", setter);
    EXPECT_TRUE(setter.all_used());
    return mixture;
  }
};

TEST(SigmaMoe, VectorA_RoutingMatches) {
  const VectorA a;
  const auto result = run_layer(a.layer(), a.x, test_pass(true));
  const ops::SortedRoutes routes = ops::sort_routes(result.assignment, test_pass());
  const auto ints = [](const Tensor& t) {
    const Tensor flat = t.reshape({-1}).contiguous();
    return std::vector<int>(flat.data_ptr<int>(), flat.data_ptr<int>() + flat.numel());
  };
  EXPECT_EQ(ints(result.assignment.first_N1), (std::vector<int>{0, 2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(ints(result.assignment.expert_R),
            (std::vector<int>{2, 0, 3, 1, 2, 1, 3, 0, 1, 2, 0, 2}));
  EXPECT_EQ(ints(routes.ends_E), (std::vector<int>{3, 6, 10, 12}));
  EXPECT_EQ(ints(routes.order_R), (std::vector<int>{1, 7, 10, 3, 5, 8, 0, 4, 9, 11, 2, 6}));
  EXPECT_EQ(ints(routes.token_R), (std::vector<int>{0, 3, 5, 1, 2, 4, 0, 2, 4, 5, 1, 3}));
  expect_values(result.assignment.gate_R.narrow(0, 0, 2), {0.833147, 0.661921}, 1e-6);
}

TEST(SigmaMoe, VectorA_OutputAndLossMatch) {
  const VectorA a;
  const auto result = run_layer(a.layer(), a.x, test_pass(true));
  expect_values(result.y_ND[0], {0.071128, 0.133233, 0.130949, 0.065381}, 2e-6);
  expect_values(result.y_ND[3], {0.006778, 0.003461, -0.001529, -0.005780}, 2e-6);
  EXPECT_NEAR(result.penalty.item<double>(), -0.137291, 2e-6);
  EXPECT_NEAR(result.penalty.item<double>() / 0.1, -1.372907, 2e-6);
  const Tensor z = a.x.matmul(a.w3.t());
  expect_values(z[0], {0.671865, -1.193866, 1.608096, -1.877162}, 2e-6);
  expect_values(log_mean_probability(z).exp(), {0.265493, 0.196872, 0.306998, 0.230637}, 2e-6);
  EXPECT_NEAR((result.y_ND * a.dy).sum().item<double>(), -0.599045, 3e-6);
}

TEST(SigmaMoe, VectorA_GradientsMatch) {
  const VectorA a;
  const auto result = run_layer(a.layer(), a.x, test_pass(true));
  ((result.y_ND * a.dy).sum() + result.penalty).backward();
  const auto expect_sums = [](const Tensor& g, double sum, double squares) {
    EXPECT_NEAR(g.sum().item<double>(), sum, 1e-5);
    EXPECT_NEAR(g.square().sum().item<double>(), squares, 1e-5 * std::max(1.0, squares));
  };
  expect_sums(a.x.grad(), -0.331215, 9.215134);
  expect_sums(a.w1.grad(), -1.567822, 59.352666);
  expect_sums(a.w2.grad(), -1.144537, 0.917096);
  expect_sums(a.w3.grad(), -0.019307, 0.010168);
  expect_values(a.x.grad()[0], {-0.565821, -0.179961, 0.709352, -0.558276}, 2e-6);
  expect_values(a.w3.grad()[0], {-0.000815, -0.000881, -0.000521, 0.000090}, 2e-6);
}

// sigma-MoE token by token in double, by the formula.
Tensor naive_mixture(const Tensor& x_ND, const Tensor& up_EGD, const Tensor& down_EDG,
                     const Tensor& router_ED, std::int64_t k) {
  const Tensor gates = torch::sigmoid(x_ND.matmul(router_ED.t()));
  const Tensor chosen = std::get<1>(gates.topk(k, -1));
  std::vector<Tensor> rows;
  for (std::int64_t n = 0; n < x_ND.size(0); ++n) {
    Tensor y = torch::zeros({x_ND.size(1)}, x_ND.options());
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t e = chosen[n][i].item<std::int64_t>();
      y = y + gates[n][e] * down_EDG[e].matmul(torch::relu(up_EGD[e].matmul(x_ND[n])));
    }
    rows.push_back(y);
  }
  return torch::stack(rows);
}

TEST(SigmaMoe, ForwardAndGradientsEqualTheNaiveExpression) {
  struct Case {
    std::int64_t tokens, dim, experts, width, per_token;
  };
  for (const Case& c :
       {Case{7, 6, 5, 3, 2}, Case{33, 20, 4, 17, 1}, Case{1, 8, 8, 4, 8}, Case{70, 36, 3, 40, 3}}) {
    const auto leaf = [](int s, std::vector<std::int64_t> shape) {
      return fill_double(s, shape).requires_grad_();
    };
    const Tensor x = leaf(1, {c.tokens, c.dim}), up = leaf(2, {c.experts, c.width, c.dim}),
                 down = leaf(3, {c.experts, c.dim, c.width}), router = leaf(4, {c.experts, c.dim});
    const Tensor dy = fill_double(9, {c.tokens, c.dim});
    (naive_mixture(x, up, down, router, c.per_token) * dy).sum().backward();

    const auto copy = [](const Tensor& t) {
      return t.detach().to(torch::kFloat32).requires_grad_();
    };
    const Tensor xf = copy(x), upf = copy(up), downf = copy(down), routerf = copy(router);
    Mixture layer = mixture_config(c.dim, c.experts, c.width, c.per_token).layer();
    Setter setter({{"router.weight", routerf}, {"experts.up", upf}, {"experts.down", downf}});
    layer.visit("ff", setter);
    const Tensor y = run_layer(layer, xf, test_pass(true)).y_ND;
    (y * dy.to(torch::kFloat32)).sum().backward();
    expect_close(y, naive_mixture(x, up, down, router, c.per_token), 1e-5, "y");
    expect_close(xf.grad(), x.grad(), 1e-5, "x");
    expect_close(upf.grad(), up.grad(), 1e-5, "up");
    expect_close(downf.grad(), down.grad(), 1e-5, "down");
    expect_close(routerf.grad(), router.grad(), 1e-5, "router");
  }
}

TEST(SigmaMoe, GradientsEqualFiniteDifferences) {
  testing::check_operation(
      [](const std::vector<Tensor>& f) {
        Mixture layer = mixture_config(6, 3, 4, 2).layer();
        Setter setter({{"router.weight", f[3]}, {"experts.up", f[1]}, {"experts.down", f[2]}});
        layer.visit("ff", setter);
        return run_layer(layer, f[0], test_pass(true)).y_ND;
      },
      [](const std::vector<Tensor>& d) { return naive_mixture(d[0], d[1], d[2], d[3], 2); },
      {fill_double(1, {5, 6}), fill_double(2, {3, 4, 6}), fill_double(3, {3, 6, 4}),
       fill_double(4, {3, 6})});
}

TEST(SigmaMoe, PermutingExpertsChangesNothing) {
  VectorA a;
  const Tensor order = torch::tensor({2, 0, 3, 1});
  const auto before = run_layer(a.layer(), a.x, test_pass(true));
  a.w1 = a.w1.index_select(0, order), a.w2 = a.w2.index_select(0, order),
  a.w3 = a.w3.index_select(0, order);
  const auto after = run_layer(a.layer(), a.x, test_pass(true));
  expect_close(after.y_ND, before.y_ND, 1e-6);
  EXPECT_NEAR(after.penalty.item<double>(), before.penalty.item<double>(), 1e-7);
}

TEST(SigmaMoe, PermutingTokensPermutesTheOutput) {
  const VectorA a;
  const Tensor order = torch::tensor({3, 1, 5, 0, 2, 4});
  const Tensor before = run_layer(a.layer(), a.x, test_pass()).y_ND;
  const Tensor after = run_layer(a.layer(), a.x.index_select(0, order), test_pass()).y_ND;
  expect_close(after, before.index_select(0, order), 1e-6);
}

TEST(SigmaMoe, EveryExpertWithGateOneEqualsTheDenseLayerWithoutBias) {
  // E = K = 1 and a router so large that the gate is 1.
  const Tensor x = fill(1, {9, 4}).abs() + 1, up = fill(2, {1, 5, 4}), down = fill(3, {1, 4, 5});
  Mixture layer = mixture_config(4, 1, 5, 1).layer();
  Setter setter(
      {{"router.weight", torch::full({1, 4}, 50.0f)}, {"experts.up", up}, {"experts.down", down}});
  layer.visit("ff", setter);
  const Tensor y = run_layer(layer, x, test_pass()).y_ND;
  expect_close(y, torch::relu(x.matmul(up[0].t())).matmul(down[0].t()), 1e-5);
}

TEST(SigmaMoe, AllExpertsDroppedGivesZeroAndNoNan) {
  VectorA a;
  a.sizes.config.router.expert_dropout = 1;
  const auto result = run_layer(a.layer(), a.x, test_pass(true));
  EXPECT_TRUE(result.y_ND.eq(0).all().item<bool>());
  EXPECT_TRUE(result.assignment.gate_R.eq(0).all().item<bool>());
  ((result.y_ND * a.dy).sum() + result.penalty).backward();
  for (const Tensor& g : {a.x.grad(), a.w1.grad(), a.w2.grad(), a.w3.grad()})
    EXPECT_TRUE(g.isfinite().all().item<bool>());
}

TEST(SigmaMoe, ExpertDropoutIsInactiveInEvaluation) {
  VectorA a;
  const Tensor without = run_layer(a.layer(), a.x, test_pass()).y_ND;
  a.sizes.config.router.expert_dropout = 0.9;
  const auto with = run_layer(a.layer(), a.x, test_pass());
  EXPECT_TRUE(with.y_ND.equal(without));
  EXPECT_FALSE(with.penalty.defined());
}

TEST(SigmaMoe, ExpertDropoutHidesTheExpectedShare) {
  Sizes sizes = mixture_config(4, 16, 2, 16);
  sizes.config.router.expert_dropout = 0.25;
  Mixture layer = sizes.layer();
  Setter setter({{"router.weight", fill(4, {16, 4})},
                 {"experts.up", fill(2, {16, 2, 4})},
                 {"experts.down", fill(3, {16, 4, 2})}});
  layer.visit("ff", setter);
  const auto result = run_layer(layer, fill(1, {500, 4}), test_pass(true));
  const double hidden = result.assignment.gate_R.eq(0).to(torch::kFloat64).mean().item<double>();
  EXPECT_NEAR(hidden, 0.25, 4 * std::sqrt(0.25 * 0.75 / 8000));
}

TEST(SigmaMoe, EmptyExpertsHaveExactlyZeroGradients) {
  // All tokens alike: K experts take every row, the others none.
  const Tensor x = fill(1, {1, 4}).expand({10, 4}).contiguous().requires_grad_();
  const VectorA a;
  const auto result = run_layer(a.layer(), x, test_pass());
  result.y_ND.sum().backward();
  for (std::int64_t e : {1, 3}) {
    EXPECT_TRUE(a.w1.grad()[e].eq(0).all().item<bool>()) << e;
    EXPECT_TRUE(a.w2.grad()[e].eq(0).all().item<bool>()) << e;
  }
  EXPECT_GT(a.w1.grad()[2].abs().max().item<double>(), 0);
}

TEST(SigmaMoe, NoTokensAndOneTokenWork) {
  const VectorA a;
  for (std::int64_t n : {0, 1}) {
    const auto result = run_layer(a.layer(), fill(1, {n, 4}), test_pass(true));
    EXPECT_EQ(result.y_ND.size(0), n);
    EXPECT_EQ(result.penalty.defined(), n > 0) << "no tokens have no mean";
    if (n > 0) {
      EXPECT_TRUE(result.penalty.isfinite().item<bool>());
    }
  }
}

// specs/sparse-ffn 5.5 and 7.8: what waits for backward is the hidden units, N * K * G, within a
// tenth, whatever E; x is the caller's.
TEST(SigmaMoe, KeepsTheHiddenUnitsForBackwardAndLittleElse) {
  for (const std::int64_t experts : {16, 32}) {
    const std::int64_t tokens = 600, dim = 200, width = 256, per_token = 4;
    Sizes config = mixture_config(dim, experts, width, per_token);
    config.config.router.entropy_weight = 0.001;
    Mixture layer = config.layer();
    const auto leaf = [](std::vector<std::int64_t> sizes) {
      return (0.02 * torch::randn(sizes)).requires_grad_();
    };
    Setter setter({{"router.weight", leaf({experts, dim})},
                   {"experts.up", leaf({experts, width, dim})},
                   {"experts.down", leaf({experts, dim, width})}});
    layer.visit("ff", setter);
    const Tensor x = leaf({tokens, dim});
    const testing::LiveMemory memory;
    std::int64_t kept = -memory.bytes();
    Tensor y, penalty;
    {
      const testing::LayerResult result = run_layer(layer, x, test_pass(true));
      y = result.y_ND, penalty = result.penalty;
    }
    kept += memory.bytes() - static_cast<std::int64_t>(y.nbytes());
    const auto hidden = static_cast<double>(4 * tokens * per_token * width);
    EXPECT_LE(static_cast<double>(kept), 1.1 * hidden) << experts << " experts";
    EXPECT_GE(static_cast<double>(kept), hidden) << experts << " experts";
    y = Tensor(), penalty = Tensor();
  }
}

TEST(SigmaMoe, ThreadsDoNotChangeABit) {
  const auto run = [](int threads) {
    const auto leaf = [](int s, std::vector<std::int64_t> shape) {
      return fill(s, shape).requires_grad_();
    };
    const Tensor x = leaf(1, {700, 40}), up = leaf(2, {6, 50, 40}), down = leaf(3, {6, 40, 50}),
                 router = leaf(4, {6, 40});
    Mixture layer = mixture_config(40, 6, 50, 2).layer();
    Setter setter({{"router.weight", router}, {"experts.up", up}, {"experts.down", down}});
    layer.visit("ff", setter);
    const Tensor y = run_layer(layer, x, test_pass(false, threads)).y_ND;
    y.square().sum().backward();
    return std::vector<Tensor>{y, x.grad(), up.grad(), down.grad()};
  };
  const auto one = run(1), three = run(3);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(one[i].equal(three[i])) << i;
}

// The initial standard deviations of a mixture's matrices.
class Spreads final : public ParameterVisitor {
 public:
  explicit Spreads(const checkpoint::Mixture& config, const LayerPlace& place) {
    Mixture(config, place).visit("", *this);
  }
  void matrix(const Parameter& p, WeightPtr&) override { of[p.name] = p.init; }
  void tensor(const Parameter& p, Tensor&) override { of[p.name] = p.init; }
  std::map<std::string, Init> of;
};

// specs/sparse-ffn 2.4, 2.5 and the values of 3.3.
TEST(Mixture, StartsAsPublished) {
  checkpoint::Mixture config{16, 128, {4, 0, 0}};
  const LayerPlace wt_s{0, 16, 412, 256};
  const auto spread = [&](const char* name) { return Spreads(config, wt_s).of.at(name).value; };
  EXPECT_NEAR(spread(".experts.up"), 0.01742, 5e-6);
  EXPECT_NEAR(spread(".experts.down"), 0.00781, 5e-6);
  // All rows of the router have the norm sqrt(2 / L).
  EXPECT_NEAR(spread(".router.weight") * std::sqrt(412.0), 0.3536, 5e-5);
  EXPECT_EQ(Spreads(config, wt_s).of.at(".router.weight").kind, Init::Kind::row_normalized);
  config.init.down_fan_in = checkpoint::FanIn::expert;
  EXPECT_NEAR(spread(".experts.down"), 0.03125, 5e-6);
  config.init.down_fan_in = checkpoint::FanIn::active;
  EXPECT_NEAR(spread(".experts.down"), 0.03125 / 2, 5e-6);
  // Switch of the same study.
  config.init = {0.1, checkpoint::FanIn::expert};
  config.router.score = checkpoint::LinearScore{false, false};
  EXPECT_NEAR(spread(".experts.up"), std::sqrt(0.2 / (16 * 412)), 1e-7);
  EXPECT_NEAR(spread(".experts.down"), std::sqrt(0.2 / (16 * 128)), 1e-7);
  EXPECT_NEAR(spread(".router.weight"), std::sqrt(0.2 / (16 * 412)), 1e-7);
  EXPECT_EQ(Spreads(config, wt_s).of.at(".router.weight").kind, Init::Kind::normal);
}

TEST(Mixture, DropsHiddenUnitsInTrainingAlone) {
  Sizes sizes = mixture_config(4, 4, 64, 2);
  const auto layer = [&] {
    Mixture mixture = sizes.layer();
    Setter setter({{"router.weight", fill(4, {4, 4})},
                   {"experts.up", fill(2, {4, 64, 4})},
                   {"experts.down", fill(3, {4, 4, 64})}});
    mixture.visit("ff", setter);
    return mixture;
  };
  const Tensor x = fill(1, {500, 4}), whole = run_layer(layer(), x, test_pass()).y_ND;
  sizes.config.hidden_dropout = 0.4;
  EXPECT_TRUE(run_layer(layer(), x, test_pass()).y_ND.equal(whole));
  const Tensor dropped = run_layer(layer(), x, test_pass(true)).y_ND;
  EXPECT_FALSE(dropped.allclose(whole, 1e-2, 1e-2));
  // Kept units are scaled, so that the mean stays: within five of its standard deviations.
  const Tensor change = dropped - whole;
  EXPECT_TRUE((change.mean(0).abs() < 5 * change.std(0) / std::sqrt(500.0)).all().item<bool>());
  Pass later = test_pass(true);
  EXPECT_TRUE(run_layer(layer(), x, later).y_ND.equal(dropped));
  later.step = 1;
  EXPECT_FALSE(run_layer(layer(), x, later).y_ND.equal(dropped));
}

// sum_e p_e ln p_e for scores [N, E].
Tensor entropy_penalty(const Tensor& scores_NE) {
  const Pass pass;
  ForwardState state(pass);
  state.routing.push_back({"layer", log_mean_probability(scores_NE), 1});
  return penalties(state);
}

TEST(EntropyPenalty, MatchesVectorD) {
  const Tensor z =
      torch::tensor({2., 1., .5, -1., 0., .5, 1., 1.5, 1., 3., -1., 0., 2., 0., 1., -2.})
          .view({4, 4})
          .requires_grad_();
  expect_values(log_mean_probability(z).exp(), {.370172, .327878, .167249, .134701}, 1e-6);
  const Tensor penalty = entropy_penalty(z);
  EXPECT_NEAR(penalty.item<double>(), -1.302615, 1e-6);
  EXPECT_NEAR(std::exp(-penalty.item<double>()) / 4, 0.919726, 1e-6);
  penalty.backward();
  expect_values(z.grad()[0], {.025280, .002499, -.021370, -.006410}, 1e-6);
  expect_close(z.grad().sum(-1), torch::zeros({4}), 1e-7);
}

TEST(EntropyPenalty, IsFiniteForHugeScoresAndLeastWhenUniform) {
  for (std::int64_t experts : {4, 8, 16, 32, 128}) {
    const double bound = -std::log(static_cast<double>(experts));
    EXPECT_NEAR(entropy_penalty(torch::zeros({5, experts})).item<double>(), bound, 1e-5);
    const double huge = entropy_penalty(1e4 * fill(3, {50, experts})).item<double>();
    EXPECT_TRUE(std::isfinite(huge));
    EXPECT_GE(huge, bound - 1e-5);
  }
}

TEST(EntropyPenalty, IgnoresAConstantAddedToARow) {
  const Tensor z = fill(3, {6, 8});
  EXPECT_NEAR(entropy_penalty(z + fill(9, {6, 1})).item<double>(),
              entropy_penalty(z).item<double>(), 1e-6);
}

}  // namespace
}  // namespace mote::model
