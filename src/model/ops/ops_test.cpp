// The differentiable operations that have no file of tests of their own: value, gradients and
// differences of each (tests/support/models.h), and what dropout draws.
#include <cmath>

#include "model/ops/add.h"
#include "model/ops/dropout.h"
#include "model/ops/gated.h"
#include "model/ops/head_loss.h"
#include "model/ops/layer_norm.h"
#include "model/ops/product.h"
#include "model/ops/rotary.h"
#include "tests/support/models.h"

namespace mote::model::ops {
namespace {

using testing::check_operation;
using testing::expect_close;
using testing::fill;
using testing::fill_double;
using testing::test_pass;
using Tensors = std::vector<Tensor>;

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Pass& pass) {
  return product(x, make_dense_weight(weight), bias, pass);
}

TEST(ProductOp, EqualsTheNaiveExpressionAndItsGradients) {
  for (const std::int64_t rows : {1, 5, 70})
    check_operation([](const Tensors& f) { return linear(f[0], f[1], f[2], test_pass()); },
                    [](const Tensors& d) { return d[0].matmul(d[1].t()) + d[2]; },
                    {fill_double(1, {2, rows, 9}), fill_double(2, {7, 9}), fill_double(3, {7})});
  check_operation([](const Tensors& f) { return linear(f[0], f[1], {}, test_pass()); },
                  [](const Tensors& d) { return d[0].matmul(d[1].t()); },
                  {fill_double(1, {6, 33}), fill_double(2, {17, 33})});
}

TEST(ProductOp, TakesInputsThatAreNotContiguous) {
  check_operation(
      [](const Tensors& f) { return linear(f[0].transpose(0, 1), f[1].t(), {}, test_pass()); },
      [](const Tensors& d) { return d[0].transpose(0, 1).matmul(d[1]); },
      {fill_double(1, {9, 6}), fill_double(2, {9, 7})});
}

TEST(ProductOp, CutsAtZeroAndItsGradientsToo) {
  for (const std::int64_t rows : {1, 5, 300})
    check_operation(
        [](const Tensors& f) {
          return product(f[0], make_dense_weight(f[1]), f[2], test_pass(),
                         kernels::Activation::relu);
        },
        [](const Tensors& d) { return torch::relu(d[0].matmul(d[1].t()) + d[2]); },
        {fill_double(1, {rows, 9}), fill_double(2, {7, 9}), fill_double(3, {7})});
}

// Elements of 16 bits are multiplied where they lie: the products are those of their values.
TEST(ProductOp, MultipliesStoredTypesAsTheirValues) {
  for (const auto type : {torch::kBFloat16, torch::kFloat16})
    for (const std::int64_t rows : {1, 5, 70}) {
      const WeightPtr stored = make_dense_weight(fill(1, {17, 40}).to(type)),
                      wide = make_dense_weight(stored->to_dense());
      EXPECT_EQ(stored->bits(), 17u * 40 * 16);
      std::vector<Tensor> y, dx;
      for (const WeightPtr& w : {stored, wide}) {
        const Tensor x = fill(2, {rows, 40}).requires_grad_();
        y.push_back(product(x, w, Tensor(), test_pass()));
        (y.back() * fill(3, {rows, 17})).sum().backward();
        dx.push_back(x.grad());
      }
      testing::expect_close(y[0], y[1], 1e-6, "y");
      testing::expect_close(dx[0], dx[1], 1e-6, "dx");
      const Tensor ids = torch::tensor({3, 0, 16});
      EXPECT_TRUE(stored->gather_rows(ids, test_pass()).equal(wide->gather_rows(ids, test_pass())));
    }
}

TEST(AddOp, EqualsTheNaiveExpressionAndItsGradients) {
  check_operation([](const Tensors& f) { return add(f[0], f[1], test_pass()); },
                  [](const Tensors& d) {
                    return d[0] + d[1].view({2, 3, 9});
                  },
                  {fill_double(1, {2, 3, 9}), fill_double(2, {6, 9})});
  check_operation([](const Tensors& f) { return add_rows(f[0], f[1], 2, test_pass()); },
                  [](const Tensors& d) { return d[0] + d[1].narrow(0, 2, 3); },
                  {fill_double(1, {2, 3, 9}), fill_double(2, {7, 9})});
}

TEST(AddOp, HasTheSameBitsWhereNothingRecords) {
  for (const std::int64_t columns : {1, 15, 16, 17, 40'000}) {
    const Tensor x = fill(1, {2, 3, columns}), y = fill(2, {6, columns}),
                 table = fill(3, {5, columns});
    EXPECT_TRUE(add(x, y, test_pass()).equal(x + y.view(x.sizes()))) << columns;
    EXPECT_TRUE(add_rows(x, table, 1, test_pass()).equal(x + table.narrow(0, 1, 3))) << columns;
  }
}

TEST(SigmoidGates, AreTheSameToRoundingWhetherRecordedOrNot) {
  const Tensor scores = 4 * fill(1, {9, 20}), recorded = scores.clone().requires_grad_();
  const Tensor experts = topk(scores, 3, test_pass());
  const Tensor plain = sigmoid_gates(scores, {}, experts, 3, test_pass());
  testing::expect_close(plain, sigmoid_gates(recorded, {}, experts, 3, test_pass()), 2e-7);
  const Tensor keep = torch::zeros({9, 20});
  EXPECT_TRUE(sigmoid_gates(scores, keep, experts, 3, test_pass()).eq(0).all().item<bool>());
}

TEST(LayerNormOp, EqualsTheNaiveExpressionAndItsGradients) {
  for (const std::int64_t columns : {8, 17})
    check_operation(
        [](const Tensors& f) { return layer_norm(f[0], f[1], f[2], {}, test_pass()); },
        [](const Tensors& d) {
          const Tensor centred = d[0] - d[0].mean(-1, true);
          const Tensor variance = centred.square().mean(-1, true);
          return centred / (variance + 1e-5).sqrt() * d[1] + d[2];
        },
        {fill_double(1, {2, 5, columns}), fill_double(2, {columns}), fill_double(3, {columns})});
}

TEST(LayerNormOp, WithoutCentreAndBiasIsAnRmsNorm) {
  const NormOptions options{1e-6, false, 1};
  check_operation(
      [&](const Tensors& f) { return layer_norm(f[0], f[1], {}, options, test_pass()); },
      [&](const Tensors& f) {
        return f[0] * torch::rsqrt((f[0] * f[0]).mean(-1, true) + 1e-6) * (1 + f[1]);
      },
      {fill_double(1, {2, 5, 7}), fill_double(2, {7})});
}

TEST(GatedOp, EqualsTheNaiveExpressionAndItsGradients) {
  using kernels::UnitKind;
  const std::vector<std::pair<UnitKind, std::function<Tensor(const Tensor&)>>> kinds = {
      {UnitKind::identity, [](const Tensor& x) { return x; }},
      {UnitKind::silu, [](const Tensor& x) { return torch::silu(x); }},
      {UnitKind::gelu, [](const Tensor& x) { return at::gelu(x); }},
      {UnitKind::gelu_tanh, [](const Tensor& x) { return at::gelu(x, "tanh"); }}};
  for (const auto& [kind, act] : kinds) {
    const kernels::Unit unit{kind};
    const Tensor g = fill_double(1, {3, 4, 5}), u = fill_double(2, {3, 4, 5});
    check_operation([&](const Tensors& f) { return gated(f[0], f[1], unit, test_pass()); },
                    [&](const Tensors& f) { return act(f[0]) * f[1]; }, {g, u});
    check_operation([&](const Tensors& f) { return gated(f[0], {}, unit, test_pass()); },
                    [&](const Tensors& f) { return act(f[0]); }, {g});
  }
}

TEST(GatedOp, TakesInputsThatAreNotContiguous) {
  const Tensor both = fill_double(1, {6, 8}).to(torch::kFloat32);
  const Tensor g = both.narrow(1, 0, 4), u = both.narrow(1, 4, 4);
  expect_close(gated(g, u, {}, test_pass()), gated(g.contiguous(), u.contiguous(), {}, test_pass()),
               0);
}

// x cos + turned(x) sin, as transformers writes it.
TEST(RotaryOp, EqualsTheNaiveExpressionAndItsGradients) {
  const std::int64_t positions = 9, pairs = 3, heads = 2, width = 8, first = 4, length = 5;
  const Tensor angle = torch::arange(positions, torch::kFloat64).unsqueeze(1) *
                       torch::tensor({1.0, 0.3, 0.02}, torch::kFloat64);
  const RotaryRows rows{angle.cos().to(torch::kFloat32), angle.sin().to(torch::kFloat32)};
  const Tensor cos = angle.cos().narrow(0, first, length).unsqueeze(1),
               sin = angle.sin().narrow(0, first, length).unsqueeze(1);
  for (const auto kind : {kernels::RotaryPairs::halves, kernels::RotaryPairs::adjacent})
    check_operation(
        [&](const Tensors& f) { return rotary(f[0], heads, first, rows, kind, test_pass()); },
        [&](const Tensors& f) {
          const Tensor x = f[0].view({2, length, heads, width}), turned = x.narrow(3, 0, 2 * pairs),
                       rest = x.narrow(3, 2 * pairs, width - 2 * pairs);
          const bool halves = kind == kernels::RotaryPairs::halves;
          const Tensor pair = halves ? turned.view({2, length, heads, 2, pairs}).transpose(3, 4)
                                     : turned.view({2, length, heads, pairs, 2});
          const Tensor a = pair.select(4, 0), b = pair.select(4, 1);
          const Tensor y = torch::stack({a * cos - b * sin, b * cos + a * sin}, 4);
          const Tensor flat = (halves ? y.transpose(3, 4) : y).reshape(turned.sizes());
          return torch::cat({flat, rest}, 3).view(f[0].sizes());
        },
        {fill_double(3, {2, length, heads * width})});
}

TEST(HeadLossOp, EqualsTheNaiveExpressionAndItsGradients) {
  const Tensor targets = torch::tensor({3, 0, 10, 7, 3});
  check_operation(
      [&](const Tensors& f) {
        return head_loss(f[0], make_dense_weight(f[1]), f[2], targets, test_pass()).mean;
      },
      [&](const Tensors& d) {
        const Tensor log_p = torch::log_softmax(d[0].matmul(d[1].t()) + d[2], -1);
        return -log_p.gather(1, targets.unsqueeze(1)).mean();
      },
      {fill_double(1, {5, 12}), fill_double(2, {11, 12}), fill_double(3, {11})});
}

TEST(HeadLossOp, RowsWithoutATargetDoNotCount) {
  const Tensor x = fill(1, {4, 6}), w = fill(2, {9, 6}), b = fill(3, {9});
  const auto some =
      head_loss(x, make_dense_weight(w), b, torch::tensor({2, -1, 5, -1}), test_pass());
  const auto two = head_loss(x.index_select(0, torch::tensor({0, 2})), make_dense_weight(w), b,
                             torch::tensor({2, 5}), test_pass());
  EXPECT_NEAR(some.mean.item<double>(), two.mean.item<double>(), 1e-6);
  EXPECT_EQ(some.each_N[1].item<double>(), 0);
}

TEST(DropoutOp, KeepsTheStatedShareScaledSoThatTheMeanStays) {
  const double rate = 0.3;
  const Tensor kept = dropout(torch::ones({200, 500}), rate, 1, test_pass(true));
  const double share = kept.ne(0).to(torch::kFloat64).mean().item<double>();
  EXPECT_NEAR(share, 1 - rate, 4 * std::sqrt(rate * (1 - rate) / 100'000));
  EXPECT_TRUE(kept.masked_select(kept.ne(0)).allclose(torch::full({1}, 1 / (1 - rate))));
}

TEST(DropoutOp, DependsOnSiteAndStepAndNotOnThreads) {
  const Tensor x = torch::ones({70, 300});
  const auto draw = [&](std::int64_t site, std::uint64_t step, int threads) {
    Pass pass = test_pass(true, threads);
    pass.step = step;
    return dropout(x, 0.5, site, pass);
  };
  EXPECT_TRUE(draw(1, 1, 1).equal(draw(1, 1, 3)));
  EXPECT_FALSE(draw(1, 1, 1).equal(draw(2, 1, 1)));
  EXPECT_FALSE(draw(1, 1, 1).equal(draw(1, 2, 1)));
}

TEST(DropoutOp, PassesGradientsWhereItKept) {
  const Tensor x = fill(1, {20, 30}).requires_grad_();
  const Tensor y = dropout(x, 0.4, 1, test_pass(true));
  y.sum().backward();
  testing::expect_close(x.grad(), (y / x).detach(), 1e-5);
}

TEST(DropoutOp, IsTheIdentityInEvaluation) {
  const Tensor x = fill(1, {4, 5});
  EXPECT_TRUE(dropout(x, 0.9, 1, test_pass()).equal(x));
}

}  // namespace
}  // namespace mote::model::ops
