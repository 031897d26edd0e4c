#include "checkpoint/same_model.h"

#include <gtest/gtest.h>

namespace mote::checkpoint {
namespace {

ModelConfig small() {
  ModelConfig config;
  config.vocab_size = 10;
  config.attention = Rotary{};
  Mixture mixture;
  mixture.gated = true;
  config.feed_forward = mixture;
  return config;
}

TEST(SameModel, IsOneThatComputesTheSame) {
  const ModelConfig a = small();
  EXPECT_EQ(difference(a, a), "");
  ModelConfig b = a;
  b.dropout = 0.5;
  b.norms.epsilon *= 1 + 1e-8;
  b.feed_forward.get_if<Mixture>()->router.noise = JitterNoise{0.1};
  b.feed_forward.get_if<Mixture>()->router.balance.push_back(SwitchLoss{});
  Rotary& attention = *b.attention.get_if<Rotary>();
  attention.rotary.pairs = RotaryPairs::adjacent;
  attention.window = b.context;
  attention.rotary.dim = attention.head_dim;
  attention.rotary.scaling = LinearScaling{1};
  EXPECT_EQ(difference(a, b), "") << "only training differs, or how it is spelled";
}

TEST(SameModel, NamesTheFirstThingThatDiffers) {
  const ModelConfig a = small();
  ModelConfig b = a;
  b.vocab_size = 11;
  EXPECT_EQ(difference(a, b), "vocab_size is 10 and 11");
  b = a;
  LayerRule rule;
  rule.read({{"layers", 2}, {"attention", {{"window", 7}}}}, {"", ""});
  b.rules.push_back(rule);
  EXPECT_EQ(difference(a, b), "layer 2: attention.window is 0 and 7");
  b = a;
  b.attention.get_if<Rotary>()->rotary.base = 20000;
  EXPECT_NE(difference(a, b), "");
  b = a;
  b.feed_forward.get_if<Mixture>()->router.renormalise = true;
  EXPECT_EQ(difference(a, b), "layer 0: feed_forward.router.renormalise is false and true");
  b.feed_forward = Dense{};
  EXPECT_NE(difference(a, b), "");
  b = a;
  b.feed_forward.get_if<Mixture>()->router.capacity = CapacityFactor{1, Scope::batch, true};
  EXPECT_NE(difference(a, b), "") << "a capacity that holds outside training";
}

}  // namespace
}  // namespace mote::checkpoint
