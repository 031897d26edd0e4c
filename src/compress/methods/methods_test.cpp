#include "compress/methods/method.h"

#include "compress/methods/clip_search.h"
#include "compress/methods/rounding.h"
#include "compress/methods/second_order.h"
#include "model/packed_weight.h"
#include "tests/support/models.h"

namespace mote::compress {
namespace {

using testing::test_pass;

// Correlated inputs and the weights that take them.
struct Problem {
  Tensor x_ENI, w_EOI;
  Statistics statistics;
};

Problem make_problem(std::int64_t experts, std::int64_t out, std::int64_t in, std::int64_t rows,
                     std::uint64_t seed) {
  torch::manual_seed(seed);
  Problem p;
  const Tensor mix = torch::randn({in, in}) / std::sqrt(static_cast<double>(in));
  p.x_ENI = torch::randn({experts, rows, in}).matmul(mix + 0.3 * torch::eye(in));
  p.w_EOI = torch::randn({experts, out, in}) * 0.05;
  p.statistics.second_moments_EII = p.x_ENI.transpose(1, 2).matmul(p.x_ENI);
  p.statistics.tokens.assign(static_cast<std::size_t>(experts), rows);
  return p;
}

double output_error(const Problem& p, const MethodResult& r) {
  const Tensor difference = (p.w_EOI - r.weight->to_dense()).to(torch::kFloat64);
  return p.x_ENI.to(torch::kFloat64)
      .matmul(difference.transpose(1, 2))
      .square()
      .sum()
      .item<double>();
}

MethodResult run(MethodKind kind, const Problem& p, MethodOptions options = {}) {
  return make_method(kind, options)
      ->compress(*model::make_dense_weight(p.w_EOI), p.statistics, "w", test_pass());
}

TEST(SecondOrder, GivesTheSpecsVector) {
  Problem p;
  p.x_ENI = torch::tensor({1., 1., 0., 1., 2., 1., 1., 2., 0., 1., 1., 1.,
                           1., 2., 1., 2., 1., 0., 0., 1., 2., 2., 1., 3.},
                          torch::kFloat32)
                .view({1, 6, 4});
  p.w_EOI = torch::tensor({.6, .28, -.5, .2}, torch::kFloat32).view({1, 1, 4});
  p.statistics.second_moments_EII = p.x_ENI.transpose(1, 2).matmul(p.x_ENI);
  p.statistics.tokens = {6};
  // Levels are stored as bfloat16: 0.6 becomes 0.6015625.
  const Tensor q = run(MethodKind::gptq, p).weight->to_dense();
  testing::expect_values(q, {0.6015625, 0, -.5, 0.6015625}, 1e-6);
  testing::expect_values(run(MethodKind::rtn, p).weight->to_dense(), {0.6015625, 0, -.5, 0}, 1e-6);
  const InverseFactors factors = inverse_factors(p.statistics, 0.1, test_pass());
  testing::expect_values(factors.u_EII,
                         {.343142, .021906, .040475, -.256949, 0, .354717, -.117654, -.190299, 0, 0,
                          .396153, -.149845, 0, 0, 0, .125541},
                         1e-4);
}

TEST(SecondOrder, ScalingTheMomentsChangesNothing) {
  Problem p = make_problem(2, 20, 24, 100, 1);
  const Tensor before = run(MethodKind::gptq, p).weight->to_dense();
  p.statistics.second_moments_EII = p.statistics.second_moments_EII / 64;
  EXPECT_TRUE(run(MethodKind::gptq, p).weight->to_dense().equal(before));
}

TEST(SecondOrder, IdentityMomentsAreRoundingToNearestBitForBit) {
  Problem p = make_problem(2, 33, 40, 50, 2);
  p.statistics.second_moments_EII = torch::eye(40).expand({2, 40, 40}).contiguous();
  for (const Bits bits : {Bits::ternary, Bits::two}) {
    MethodOptions options;
    options.bits = bits;
    EXPECT_TRUE(run(MethodKind::gptq, p, options)
                    .weight->to_dense()
                    .equal(run(MethodKind::rtn, p, options).weight->to_dense()));
  }
}

TEST(SecondOrder, ObjectiveIsTheWeightedErrorOfWhatIsStored) {
  const Problem p = make_problem(3, 30, 64, 200, 3);
  const MethodResult r = run(MethodKind::gptq, p);
  const Tensor h = p.statistics.second_moments_EII.to(torch::kFloat64) * 100;
  double want = 0;
  for (std::int64_t e = 0; e < 3; ++e) {
    const Tensor damped = h[e] + 0.1 * h[e].diagonal().mean() * torch::eye(64, torch::kFloat64);
    const Tensor d = (p.w_EOI[e] - r.weight->to_dense()[e]).to(torch::kFloat64);
    want += d.matmul(damped).mul(d).sum().item<double>();
  }
  EXPECT_NEAR(r.error, want, 1e-3 * want);
}

TEST(SecondOrder, BatchOfExpertsEqualsSingleRuns) {
  const Problem p = make_problem(4, 20, 48, 100, 4);
  const Tensor together = run(MethodKind::gptq, p).weight->to_dense();
  for (std::int64_t e = 0; e < 4; ++e) {
    Problem one;
    one.w_EOI = p.w_EOI.narrow(0, e, 1);
    one.statistics.second_moments_EII =
        p.statistics.second_moments_EII.narrow(0, e, 1).contiguous();
    one.statistics.tokens = {p.statistics.tokens[static_cast<std::size_t>(e)]};
    EXPECT_TRUE(run(MethodKind::gptq, one).weight->to_dense()[0].equal(together[e])) << e;
  }
}

TEST(SecondOrder, ErrsLessThanRoundingOnAverage) {
  for (const Bits bits : {Bits::ternary, Bits::two}) {
    double second_order = 0, nearest = 0;
    MethodOptions options;
    options.bits = bits;
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      const Problem p = make_problem(2, 40, 64, 300, seed);
      second_order += output_error(p, run(MethodKind::gptq, p, options));
      nearest += output_error(p, run(MethodKind::rtn, p, options));
    }
    EXPECT_LT(second_order, 0.8 * nearest) << enum_name(bits);
  }
}

TEST(SecondOrder, ActOrderAndClipSearchErrLessOnAverage) {
  double plain = 0, ordered = 0, clipped = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Problem p = make_problem(2, 40, 64, 300, seed);
    p.x_ENI = p.x_ENI * torch::linspace(0.2, 3, 64).flip(0).roll(20);
    p.statistics.second_moments_EII = p.x_ENI.transpose(1, 2).matmul(p.x_ENI);
    MethodOptions options;
    plain += output_error(p, run(MethodKind::gptq, p, options));
    options.act_order = true;
    ordered += output_error(p, run(MethodKind::gptq, p, options));
    options.act_order = false, options.search_clip = true;
    clipped += output_error(p, run(MethodKind::gptq, p, options));
  }
  EXPECT_LT(ordered, plain);
  EXPECT_LT(clipped, plain);
}

// Experts whose statistics are broken fall back to rounding to nearest; the others are what they
// were.
TEST(SecondOrder, BrokenStatisticsHurtOnlyTheirExpert) {
  const Problem good = make_problem(3, 16, 32, 100, 6);
  const MethodResult before = run(MethodKind::gptq, good);
  EXPECT_EQ(before.calibrated_E, (std::vector<char>{1, 1, 1}));
  const Tensor nearest = run(MethodKind::rtn, good).weight->to_dense();
  const auto broken = [&](const char* how, const std::function<void(Problem&)>& breaking) {
    SCOPED_TRACE(how);
    Problem p = good;
    p.statistics.second_moments_EII = good.statistics.second_moments_EII.clone();
    breaking(p);
    const MethodResult r = run(MethodKind::gptq, p);
    EXPECT_EQ(r.calibrated_E, (std::vector<char>{1, 0, 1}));
    const Tensor q = r.weight->to_dense(), kept = before.weight->to_dense();
    EXPECT_TRUE(q[1].equal(nearest[1]));
    for (const std::int64_t e : {0, 2}) EXPECT_TRUE(q[e].equal(kept[e]));
  };
  broken("negative eigenvalue",
         [](Problem& p) { p.statistics.second_moments_EII[1].diagonal().sub_(1e6); });
  broken("NaN", [](Problem& p) { p.statistics.second_moments_EII[1][3][3] = NAN; });
  broken("infinite", [](Problem& p) { p.statistics.second_moments_EII[1].fill_(INFINITY); });
  broken("no rows", [](Problem& p) {
    p.statistics.second_moments_EII[1].zero_();
    p.statistics.tokens[1] = 0;
  });
}

TEST(SecondOrder, AllZeroMomentsAndFewRowsFinish) {
  Problem zero = make_problem(2, 16, 32, 100, 7);
  zero.statistics.second_moments_EII[0].zero_();
  const MethodResult r = run(MethodKind::gptq, zero);
  EXPECT_TRUE(r.weight->to_dense()[0].equal(run(MethodKind::rtn, zero).weight->to_dense()[0]));
  const Problem few =
      make_problem(1, 16, 32, 3, 8);  // fewer rows than columns: damping makes it invertible
  EXPECT_EQ(run(MethodKind::gptq, few).calibrated_E, std::vector<char>{1});
}

TEST(SecondOrder, ThreadsDoNotChangeABit) {
  const Problem p = make_problem(5, 70, 256, 200, 9);
  const auto method = make_method(MethodKind::gptq, {});
  const auto with = [&](int threads) {
    return method
        ->compress(*model::make_dense_weight(p.w_EOI), p.statistics, "w", test_pass(false, threads))
        .weight->to_dense();
  };
  EXPECT_TRUE(with(1).equal(with(3)));
}

// Two bits of weights from -3e38 to 3e38 have the scale 2e38, which bfloat16 holds, and would stand
// for -4e38.
TEST(Methods, WeightsThatOverflowWhenPackedAreRefusedByNameAndValue) {
  for (const MethodKind kind : {MethodKind::gptq, MethodKind::rtn})
    for (const Bits bits : {Bits::ternary, Bits::two}) {
      MethodOptions options;
      options.bits = bits;
      Problem p = make_problem(1, 4, 8, 20, 3);
      const auto refuse = [&](float large, const std::string& value) {
        p.w_EOI[0][1][2] = large, p.w_EOI[0][1][3] = -large;
        try {
          run(kind, p, options);
          ADD_FAILURE() << enum_name(kind) << " " << enum_name(bits) << " " << value;
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::numeric);
          EXPECT_EQ(error.field(), "w");
          EXPECT_NE(std::string(error.what()).find("'w' has weights up to " + value),
                    std::string::npos)
              << error.what();
        }
      };
      if (bits == Bits::ternary)
        refuse(3.4e38f, "3.4e+38");
      else
        refuse(3e38f, "3e+38");
      if (kind == MethodKind::gptq) {  // the squares of its errors overflow before
        refuse(1e30f, "1e+30");
        continue;
      }
      p.w_EOI[0][1][2] = 1e30f, p.w_EOI[0][1][3] = -1e30f;
      EXPECT_TRUE(run(kind, p, options).weight->to_dense().isfinite().all().item<bool>());
    }
}

TEST(PackedWeight, MultipliesAsItsDenseFormDoes) {
  for (const Bits bits : {Bits::ternary, Bits::two}) {
    MethodOptions options;
    options.bits = bits;
    const Problem p = make_problem(3, 37, 51, 20, 10);
    const model::WeightPtr packed = run(MethodKind::rtn, p, options).weight;
    const model::WeightPtr dense = model::make_dense_weight(packed->to_dense());
    const Tensor experts = (torch::arange(40) * 7 % 3).to(torch::kInt32);
    const auto routes = model::ops::sort_routes(
        {3, model::ops::equal_rows(20, 2, test_pass()), experts, torch::ones({40})}, test_pass());
    const Tensor x = torch::randn({40, 51}), dy = torch::randn({40, 37});
    testing::expect_close(
        packed->multiply(x, {routes, true}, kernels::Activation::none, test_pass()),
        dense->multiply(x, {routes, true}, kernels::Activation::none, test_pass()), 1e-5);
    testing::expect_close(packed->multiply_transposed(dy, &routes, test_pass()),
                          dense->multiply_transposed(dy, &routes, test_pass()), 1e-5);
    EXPECT_FALSE(packed->leaf().defined());
    EXPECT_LT(packed->bits(), dense->bits() / 5);
  }
}

}  // namespace
}  // namespace mote::compress
