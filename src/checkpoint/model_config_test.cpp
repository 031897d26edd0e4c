#include "checkpoint/model_config.h"

#include <gtest/gtest.h>

#include "base/toml.h"
#include "checkpoint/families/mote.h"

namespace mote::checkpoint {
namespace {

ModelConfig config(const std::string& toml) {
  ModelConfig c = read_config<ModelConfig>(parse_toml(toml, "x.toml"), "x.toml");
  c.vocab_size = 100;
  validate(c, {"x.toml", ""});
  return c;
}

// The field that a config's refusal names.
std::string refused(const std::string& toml) {
  try {
    config(toml);
  } catch (const Error& error) {
    return error.field();
  }
  return "accepted";
}

std::vector<std::int64_t> chosen(const std::string& spelled, std::int64_t layers) {
  LayerSelection selection;
  selection.read(Json::parse(spelled), {"f", "layers"});
  return selection.of(layers, {"f", "layers"});
}

TEST(LayerSelection, ReadsEverySpelling) {
  using Layers = std::vector<std::int64_t>;
  EXPECT_EQ(chosen("3", 5), (Layers{3}));
  EXPECT_EQ(chosen("\"3\"", 5), (Layers{3}));
  EXPECT_EQ(chosen("\"1-3\"", 5), (Layers{1, 2, 3}));
  EXPECT_EQ(chosen("\"1::2\"", 6), (Layers{1, 3, 5}));
  EXPECT_EQ(chosen("\"::3\"", 7), (Layers{0, 3, 6}));
  EXPECT_EQ(chosen("\"2:4\"", 7), (Layers{2, 3}));
  EXPECT_EQ(chosen("\":2\"", 7), (Layers{0, 1}));
  EXPECT_EQ(chosen("\"middle\"", 12), (Layers{5}));
  EXPECT_EQ(chosen("\"middle\"", 1), (Layers{0}));
  EXPECT_EQ(chosen("[4, 0]", 5), (Layers{4, 0}));
}

TEST(LayerSelection, RefusesOthersAndLayersThatAreNotThere) {
  for (const char* text : {"\"\"", "\"x\"", "\"3-\"", "\"5-3\"", "\"1::0\"", "\"-1\"", "-1", "[]",
                           "[true]", "1.5", "\"4:2\""})
    EXPECT_THROW(chosen(text, 10), Error) << text;
  EXPECT_THROW(chosen("5", 5), Error);
  EXPECT_THROW(chosen("\"3-7\"", 5), Error);
  EXPECT_THROW(chosen("[0, 9]", 5), Error);
  EXPECT_THROW(chosen("\"7::2\"", 5), Error);
}

TEST(LayerConfig, TakesTheRulesInTheirOrder) {
  const ModelConfig c = config(R"(
layers = 4
dropout = 0.1
feed_forward = { kind = "mixture", experts = 8, router.experts_per_token = 2 }
[[rules]]
layers = "0-1"
feed_forward = { kind = "dense", width = 40 }
[[rules]]
layers = [1]
dropout = 0.2
feed_forward = { width = 50 }
[[rules]]
layers = "middle"
attention.memory_blocks = 3
)");
  const auto width = [&](std::int64_t i) {
    const LayerConfig layer = layer_config(c, i);
    const auto* dense = layer.feed_forward.get_if<Dense>();
    return dense ? dense->width : 0;
  };
  EXPECT_EQ(width(0), 40);
  EXPECT_EQ(width(1), 50);
  EXPECT_EQ(width(2), 0);
  const LayerConfig first = layer_config(c, 1), second = layer_config(c, 2),
                    last = layer_config(c, 3);
  EXPECT_EQ(last.feed_forward.get_if<Mixture>()->experts, 8);
  EXPECT_EQ(layer_config(c, 0).dropout, 0.1);
  EXPECT_EQ(layer_config(c, 1).dropout, 0.2);
  EXPECT_EQ(first.attention.get_if<TransformerXl>()->memory_blocks, 3);
  EXPECT_EQ(second.attention.get_if<TransformerXl>()->memory_blocks, 1);
}

TEST(ModelConfig, SurvivesJsonAndToml) {
  const ModelConfig c = config("rules = [{layers = \"1::2\", feed_forward = {kind = \"dense\"}}]");
  const Json json = to_json(c);
  EXPECT_EQ(to_json(read_config<ModelConfig>(json, "x")), json);
  EXPECT_EQ(to_json(read_config<ModelConfig>(parse_toml(to_toml(json), "x"), "x")), json);
}

TEST(ModelConfig, RefusesWhatDoesNotFit) {
  EXPECT_EQ(refused("dim = 15"), "dim");
  EXPECT_EQ(refused("feed_forward.experts = 2"), "feed_forward.router.experts_per_token");
  EXPECT_EQ(refused("feed_forward = {kind = \"dense\", experts = 3}"), "feed_forward.experts");
  EXPECT_EQ(refused("attention.bias = true"), "attention.bias");
  EXPECT_EQ(refused("positions = \"learned\""), "attention.kind");
  EXPECT_EQ(refused("layers = 10000\ndim = 1000000\nfeed_forward.expert_width = 1000000"), "dim");
  EXPECT_EQ(refused("rules = [{layers = 9, dropout = 0.1}]"), "rules.0.layers");
  EXPECT_EQ(refused("rules = [{dropout = 0.1}]"), "rules.0.layers");
  EXPECT_EQ(refused("rules = [{layers = 0}]"), "rules.0");
  EXPECT_EQ(refused("rules = [{layers = 0, dim = 3}]"), "rules.0.dim");
  EXPECT_EQ(refused("rules = [{layers = 0, feed_forward.width = 3}]"),
            "rules.0.feed_forward.width");
}

TEST(MoteVersion1, IsReadAsWhatItMeant) {
  const auto upgraded = [](const char* json) {
    return read_config<ModelConfig>(upgraded_model_table(Json::parse(json)), "config.json");
  };
  const ModelConfig mixture = upgraded(R"({"vocab_size": 9, "head_bias": false,
      "attention": {"kind": "transformer_xl", "heads": 2, "head_dim": 4, "bias": false,
                    "memory_blocks": 2, "eval_memory_blocks": 3},
      "feed_forward": {"kind": "sigma_moe", "width": 0, "experts": 6, "expert_width": 7,
                       "experts_per_token": 3, "expert_dropout": 0.1, "entropy_weight": 0.01}})");
  EXPECT_FALSE(mixture.head.bias);
  EXPECT_EQ(mixture.attention.get_if<TransformerXl>()->eval_memory_blocks, 3);
  EXPECT_EQ(mixture.feed_forward.get_if<Mixture>()->experts, 6);
  EXPECT_EQ(mixture.feed_forward.get_if<Mixture>()->router.experts_per_token, 3);
  EXPECT_EQ(mixture.feed_forward.get_if<Mixture>()->router.entropy_weight, 0.01);
  const ModelConfig dense = upgraded(R"({
      "attention": {"kind": "absolute", "heads": 2, "bias": true, "memory_blocks": 0,
                    "eval_memory_blocks": 4},
      "feed_forward": {"kind": "dense", "width": 12, "experts": 16, "expert_width": 128,
                       "experts_per_token": 4, "expert_dropout": 0, "entropy_weight": 0}})");
  EXPECT_EQ(dense.positions, Positions::learned);
  EXPECT_TRUE(dense.attention.get_if<Causal>()->bias);
  EXPECT_EQ(dense.feed_forward.get_if<Dense>()->width, 12);
  EXPECT_EQ(to_json(upgraded("{}")), to_json(ModelConfig{}));
  const Json now = to_json(mixture);
  EXPECT_EQ(upgraded_model_table(now), now) << "what is of version 2 stays";
  EXPECT_THROW(upgraded(R"({"attention": {"bias": true}})"), Error) << "as version 1 did";
  EXPECT_THROW(upgraded(R"({"attention": {"kind": "absolute", "memory_blocks": 1}})"), Error);
}

}  // namespace
}  // namespace mote::checkpoint
