// Gradients through packed weights: those to the input are right for every storage, and what is not
// trained costs nothing.
#include "compress/methods/method.h"
#include "model/language_model.h"
#include "model/layers/mixture.h"
#include "model/ops/product.h"
#include "model/packed_weight.h"
#include "tests/support/live_memory.h"
#include "tests/support/models.h"

namespace mote::compress {
namespace {

namespace ops = model::ops;
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
  const auto routes = model::ops::sort_routes(
      {experts, model::ops::equal_rows(15, 2, test_pass()), pair.reshape({-1}), torch::ones({30})},
      test_pass());
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

// A bank whose experts are packed takes ragged assignments, 8-bit activations included.
TEST(PackedBank, TakesTokensWithNoneOrManyRows) {
  const std::int64_t tokens = 13, dim = 16, experts = 5, width = 24, capacity = 4;
  for (const Bits bits : {Bits::ternary, Bits::two}) {
    const model::WeightPtr up = packed(fill(1, {experts, width, dim}), bits),
                           down = packed(fill(2, {experts, dim, width}), bits);
    model::MatrixBank bank({experts, width, {1, 0, 0}}, {0, 1, dim, 1});
    class Placer final : public model::ParameterVisitor {
     public:
      Placer(model::WeightPtr u, model::WeightPtr d) : up(std::move(u)), down(std::move(d)) {}
      void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
        weight = p.name == "ff.up" ? up : down;
      }
      void tensor(const model::Parameter&, Tensor&) override {}
      const model::WeightPtr up, down;
    } placer(up, down);
    bank.visit("ff", placer);
    const Tensor x = fill(3, {tokens, dim}).requires_grad_(),
                 scores = fill(4, {tokens, experts}).requires_grad_(), dy = fill(5, {tokens, dim});
    const Tensor xd = x.detach().to(torch::kFloat64).requires_grad_(),
                 sd = scores.detach().to(torch::kFloat64).requires_grad_();
    const Tensor y = bank.forward(x, testing::expert_choice(scores, capacity), test_pass(true));
    const Tensor want = testing::naive_bank(xd, up->to_dense().to(torch::kFloat64),
                                            down->to_dense().to(torch::kFloat64),
                                            testing::expert_choice(sd, capacity));
    expect_close(y, want, 1e-5, "y");
    (y * dy).sum().backward();
    (want * dy.to(torch::kFloat64)).sum().backward();
    expect_close(x.grad(), xd.grad(), 1e-5, "dx");
    expect_close(scores.grad(), sd.grad(), 1e-5, "dscores");
    // With 8-bit activations a token without rows stays 0, the others come near.
    if (!model::packed_parts(*up)->coder->product_int8) continue;
    const torch::NoGradGuard no_grad;
    model::Pass int8 = test_pass();
    int8.int8_activations = true;
    const ops::Assignment assignment = testing::expert_choice(scores, capacity);
    const Tensor rounded = bank.forward(x, assignment, int8);
    expect_close(rounded, want, 0.02, "8-bit");
    EXPECT_TRUE(rounded.eq(0).all(1).equal(assignment.first_N1.diff().eq(0)));
  }
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
