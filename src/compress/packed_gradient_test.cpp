// Gradients through packed weights: those to the input are right for every storage, and what is not
// trained costs nothing.
#include "compress/methods/method.h"
#include "model/language_model.h"
#include "model/layers/mixture.h"
#include "model/ops/product.h"
#include "tests/support/live_memory.h"
#include "tests/support/models.h"

namespace mote::compress {
namespace {

using testing::expect_close;
using testing::fill;
using testing::test_pass;

model::WeightPtr packed(const Tensor& w, Bits bits) {
  MethodOptions options;
  options.bits = bits;
  return make_method(MethodKind::rtn, options)
      ->compress(*model::make_dense_weight(w), {}, "w", test_pass())
      .weight;
}

TEST(PackedProduct, GradientToTheInputIsThatOfTheUnpackedMatrix) {
  for (const Bits bits : {Bits::ternary, Bits::two}) {
    const model::WeightPtr w = packed(fill(1, {17, 40}), bits);
    const Tensor x = fill(2, {3, 5, 40}).requires_grad_(), dy = fill(3, {3, 5, 17}),
                 bias = fill(4, {17}).requires_grad_();
    const Tensor y = model::ops::product(x, w, bias, test_pass());
    (y * dy).sum().backward();
    expect_close(y, x.matmul(w->to_dense().t()) + bias, 1e-5, "y");
    expect_close(x.grad(), dy.matmul(w->to_dense()), 1e-5, "dx");
    expect_close(bias.grad(), dy.sum({0, 1}), 1e-5, "db");
  }
}

// Of a stack, rows by token and rows in sorted order.
TEST(PackedProduct, GradientsThroughAStackAreThoseOfTheUnpackedOne) {
  const std::int64_t experts = 4;
  const Tensor chosen = (torch::arange(30) * 7 % 3).view({15, 2}).to(torch::kInt32);
  const Tensor pair = torch::stack({chosen.select(1, 0), chosen.select(1, 0) + 1}, 1);
  const auto routes = std::make_shared<model::ops::SortedRoutes>(
      model::ops::sort_routes(pair.contiguous(), experts));
  for (const bool gathered : {false, true})
    for (const Bits bits : {Bits::ternary, Bits::two}) {
      const model::WeightPtr w = packed(fill(1, {experts, 9, 40}), bits),
                             dense = model::make_dense_weight(w->to_dense());
      std::vector<Tensor> y, dx;
      for (const model::WeightPtr& each : {w, dense}) {
        const Tensor x = fill(2, {gathered ? 30 : 15, 40}).requires_grad_();
        y.push_back(model::ops::product(x, each, {routes, gathered}, test_pass()));
        (y.back() * fill(3, {30, 9})).sum().backward();
        dx.push_back(x.grad());
      }
      expect_close(y[0], y[1], 1e-5, "y");
      expect_close(dx[0], dx[1], 1e-5, "dx");
    }
}

// A mixture whose experts are packed: x, gates and router get the gradients that the unpacked
// experts give.
TEST(PackedMixture, TrainsWhatIsAroundIt) {
  // Stacks as they lie, packed, or unpacked again.
  class Packer final : public model::ParameterVisitor {
   public:
    explicit Packer(bool unpack) : unpack_(unpack) {}
    void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
      if (p.shape.size() != 3) return;
      weight = packed(weight->to_dense(), Bits::two);
      if (unpack_) weight = model::make_dense_weight(weight->to_dense());
    }
    void tensor(const model::Parameter&, Tensor&) override {}

   private:
    const bool unpack_;
  };
  const auto run = [](bool unpack) {
    model::Mixture layer({3, 24, {2, 0, 0}}, {0, 1, 16, 1});
    const Tensor router = fill(3, {3, 16}).requires_grad_(), x = fill(4, {9, 16}).requires_grad_();
    testing::Setter setter({{"router.weight", router},
                            {"experts.up", fill(1, {3, 24, 16})},
                            {"experts.down", fill(2, {3, 16, 24})}});
    layer.visit("ff", setter);
    Packer packer(unpack);
    layer.visit("ff", packer);
    const Tensor y = testing::run_layer(layer, x, test_pass(true)).y_ND;
    (y * fill(5, {9, 16})).sum().backward();
    return std::vector<Tensor>{y, x.grad(), router.grad()};
  };
  const auto stays = run(false), unpacked = run(true);
  for (std::size_t i = 0; i < stays.size(); ++i)
    expect_close(stays[i], unpacked[i], 1e-5, std::to_string(i));
}

TEST(FrozenWeight, CostsNoGradientAndKeepsNoInput) {
  const Tensor w = fill(1, {64, 128});
  const auto kept = [&](bool frozen) {
    const model::WeightPtr weight =
        model::make_dense_weight(frozen ? w : w.clone().requires_grad_());
    const testing::LiveMemory memory;
    const Tensor start = torch::ones({1000, 128}).requires_grad_();
    Tensor x = start * 2;
    const Tensor y = model::ops::product(x, weight, Tensor(), test_pass());
    x = Tensor();
    const std::int64_t bytes = memory.bytes();
    y.sum().backward();
    EXPECT_EQ(weight->leaf().defined(), !frozen);
    EXPECT_TRUE(start.grad().defined());
    return bytes;
  };
  EXPECT_GE(kept(false) - kept(true), 1000 * 128 * 4);
}

TEST(PackedWeight, IsRefusedByNameWhereItWouldBeTrained) {
  checkpoint::ModelConfig config;
  config.vocab_size = 11, config.layers = 1, config.dim = 8, config.context = 4;
  config.attention = checkpoint::TransformerXl{1, 8};
  config.feed_forward = checkpoint::Dense{12};
  model::LanguageModel lm(config);
  model::initialize(lm, 1);
  class Packer final : public model::ParameterVisitor {
   public:
    void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
      if (p.name == "blocks.0.feed_forward.up.weight")
        weight = packed(weight->to_dense().detach(), Bits::two);
    }
    void tensor(const model::Parameter&, Tensor&) override {}
  } packer;
  lm.visit(packer);
  try {
    model::trainable_parameters(lm);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "blocks.0.feed_forward.up.weight");
  }
}

}  // namespace
}  // namespace mote::compress
