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

// A mixture of 8 experts, 2 a token, with these settings of its router.
std::string router_refused(const std::string& settings) {
  return refused(
      "feed_forward = { kind = \"mixture\", experts = 8, router = { experts_per_token = 2, " +
      settings + " } }");
}

TEST(RouterConfig, ReadsEveryAxis) {
  const ModelConfig c = config(R"(
[feed_forward]
kind = "mixture"
experts = 8
key_rank = 5
hidden_dropout = 0.1
init = { scale = 0.1, down_fan_in = "expert" }
[feed_forward.router]
experts_per_token = 2
score = { kind = "linear", bias = true, equal_rows = false }
select = { kind = "sinkhorn", iterations = 5, form = "published", over = "batch" }
gate = "softmax_after"
renormalise = true
noise = { kind = "normal", std = 0.5 }
capacity = { kind = "count", count = 7, over = "batch", elsewhere = true }
balance = [{ kind = "switch", weight = 0.02, scale = "published" }, { kind = "z" }]
)");
  const RouterConfig& r = c.feed_forward.get_if<Mixture>()->router;
  EXPECT_TRUE(r.score.get_if<LinearScore>()->bias);
  EXPECT_EQ(r.select.get_if<SinkhornSelect>()->iterations, 5);
  EXPECT_EQ(r.gate, Gate::softmax_after);
  EXPECT_EQ(r.noise.get_if<NormalNoise>()->std, 0.5);
  EXPECT_TRUE(r.capacity.get_if<CapacityCount>()->elsewhere);
  EXPECT_EQ(r.balance[0].get_if<SwitchLoss>()->scale, SwitchScale::published);
  EXPECT_EQ(r.balance[1].get_if<ZLoss>()->weight, 0.001);
  EXPECT_EQ(c.feed_forward.get_if<Mixture>()->init.down_fan_in, FanIn::expert);
  const Json json = to_json(c);
  EXPECT_EQ(to_json(read_config<ModelConfig>(json, "x")), json);
  EXPECT_EQ(to_json(read_config<ModelConfig>(parse_toml(to_toml(json), "x"), "x")), json);
}

TEST(RouterConfig, RefusesWhatDoesNotFit) {
  const std::string router = "feed_forward.router.";
  EXPECT_EQ(router_refused("gate = \"softmax_after\""), "accepted");
  EXPECT_EQ(refused("feed_forward.router.experts_per_token = 17"), router + "experts_per_token");
  EXPECT_EQ(router_refused("capacity = { kind = \"count\", count = 0 }"),
            router + "capacity.count");
  EXPECT_EQ(router_refused("capacity = { kind = \"factor\", factor = 0 }"),
            router + "capacity.factor");
  EXPECT_EQ(router_refused("capacity = { count = 3 }"), router + "capacity.count");
  EXPECT_EQ(router_refused("select.kind = \"base\""), router + "experts_per_token");
  EXPECT_EQ(router_refused("select.kind = \"expert_choice\", gate = \"softmax_after\""),
            router + "gate");
  EXPECT_EQ(router_refused("select.kind = \"expert_choice\", renormalise = true"),
            router + "renormalise");
  EXPECT_EQ(router_refused("select.kind = \"expert_choice\", capacity.kind = \"count\""),
            router + "capacity.kind");
  EXPECT_EQ(router_refused("select = { kind = \"sinkhorn\", iterations = 0 }"),
            router + "select.iterations");
  EXPECT_EQ(router_refused("score.kind = \"avg_k\""), router + "gate");
  EXPECT_EQ(router_refused("score.kind = \"avg_k\", gate = \"one\""), "accepted");
  EXPECT_EQ(router_refused("score.kind = \"avg_k\", gate = \"one\", entropy_weight = 0.1"),
            router + "entropy_weight");
  EXPECT_EQ(router_refused("score.kind = \"hash\", gate = \"one\", balance = [{}]"),
            router + "balance");
  EXPECT_EQ(router_refused("score.kind = \"hash\", gate = \"one\", expert_dropout = 0.1"),
            router + "expert_dropout");
  EXPECT_EQ(router_refused("score.kind = \"hash\", gate = \"one\", noise.kind = \"jitter\""),
            router + "noise.kind");
  EXPECT_EQ(router_refused("balance = [{ kind = \"load\" }]"), router + "noise.kind");
  EXPECT_EQ(router_refused("balance = [{ kind = \"load\" }], noise.kind = \"learned\""),
            "accepted");
  EXPECT_EQ(router_refused("noise = { kind = \"jitter\", epsilon = 2 }"), router + "noise.epsilon");
  EXPECT_EQ(router_refused("balance = [{ kind = \"switch\", weight = -1 }]"),
            router + "balance.0.weight");
  EXPECT_EQ(refused("feed_forward.experts = 0"), "feed_forward.experts");
  EXPECT_EQ(refused("feed_forward.key_rank = 300"), "feed_forward.key_rank");
  EXPECT_EQ(
      refused(
          R"(rules = [{layers = 1, feed_forward.router.score = {kind = "recurrent", state_dim = 4}},
                                {layers = 2, feed_forward.router.score = {kind = "recurrent", state_dim = 5}}])"),
      "feed_forward.router.score.state_dim");
}

TEST(RouterConfig, RefusesAHashTableOfAnotherSizeOrWithoutSuchExperts) {
  const auto with = [](const std::string& table) {
    return "layers = 2\nfeed_forward = { experts = 3, router = { experts_per_token = 1, gate = "
           "\"one\", score = { kind = \"hash\", table = " +
           table + " } } }";
  };
  std::string numbers = "[";
  for (int i = 0; i < 100; ++i) numbers += concat(i % 3, ", ");
  EXPECT_EQ(refused(with(numbers + "]")), "accepted");
  EXPECT_EQ(refused(with(numbers + "1]")), "feed_forward.router.score.table");
  EXPECT_EQ(refused(with("[0, 3]")), "feed_forward.router.score.table.1");
  EXPECT_EQ(refused(with("[0, -1]")), "feed_forward.router.score.table.1");
}

TEST(Warnings, NameRoutersThatCannotLearn) {
  const auto warned = [](const std::string& settings) {
    const ModelConfig c = config("feed_forward = " + settings);
    std::string all;
    for (const std::string& warning : training_warnings(c)) all += warning + "\n";
    return all;
  };
  const auto router = [&](const std::string& settings) {
    return warned("{ kind = \"mixture\", experts = 8, router = { " + settings + " } }");
  };
  EXPECT_EQ(router("gate = \"softmax_after\""), "");
  EXPECT_EQ(router("experts_per_token = 1"), "");
  EXPECT_EQ(router("experts_per_token = 1, gate = \"softmax_before\""), "");
  EXPECT_NE(router("experts_per_token = 1, gate = \"softmax_after\"").find("always 1"),
            std::string::npos);
  EXPECT_NE(router("experts_per_token = 1, renormalise = true, entropy_weight = 0.1")
                .find("only the balancing losses"),
            std::string::npos);
  EXPECT_NE(router("gate = \"one\"").find("no gradient"), std::string::npos);
  EXPECT_EQ(router("gate = \"one\", score.kind = \"avg_k\""), "");
  EXPECT_NE(router("expert_dropout = 1").find("hides every expert"), std::string::npos);
  EXPECT_NE(warned("{ kind = \"peer\", router = { experts_per_head = 1 } }").find("always 1"),
            std::string::npos);
  EXPECT_EQ(warned("{ kind = \"peer\" }"), "");
  EXPECT_NE(warned("{ kind = \"product_key\", router = { heads = 1, experts_per_head = 1, gate = "
                   "\"softmax_joint\" } }")
                .find("always 1"),
            std::string::npos);
  EXPECT_EQ(warned("{ kind = \"product_key\", mode = \"dense_head_sum\", router = { "
                   "experts_per_head = 1, gate = \"softmax\" } }"),
            "");
}

TEST(Warnings, NameRoutersWhoseTokensDoNotFollowFromThoseBefore) {
  const auto router = [](const std::string& settings) {
    return config("feed_forward.router = { " + settings + " }");
  };
  const ModelConfig choice = router("select.kind = \"expert_choice\""),
                    topk = router("select = { kind = \"expert_choice\", elsewhere = \"topk\" }"),
                    drops = router("capacity = { kind = \"factor\", elsewhere = true }");
  EXPECT_NE(causality_warnings(choice).at(0).find("not causal"), std::string::npos);
  EXPECT_NE(why_no_generation(choice), "");
  EXPECT_TRUE(causality_warnings(topk).empty());
  EXPECT_EQ(why_no_generation(topk), "");
  EXPECT_NE(causality_warnings(drops).at(0).find("capacity.elsewhere"), std::string::npos);
  EXPECT_EQ(why_no_generation(drops), "");
  EXPECT_TRUE(causality_warnings(router("select.kind = \"sinkhorn\"")).empty());
}

TEST(MoteVersion5, HadNoEncoderAndSwitchLossesOfBatches) {
  const ModelConfig want =
      config("feed_forward.router.balance = [{ kind = \"switch\", weight = 0.5 }]");
  Json json = write_mote(want);
  json["format_version"] = 5;
  json.erase("encoder");
  for (const char* key : {"over", "dropped_as_first"})
    json["feed_forward"]["router"]["balance"][0].erase(key);
  EXPECT_EQ(to_json(read_mote(json, "config.json").config), to_json(want));
  json["format_version"] = 6;
  EXPECT_THROW(read_mote(json, "config.json"), Error);
}

// An encoder and what attends to it have buckets of distances, the same in all layers of a stack.
TEST(Encoder, WantsBucketsOfDistancesEverywhere) {
  const std::string bucketed = "attention = { kind = \"bucketed\" }\n";
  EXPECT_EQ(refused(bucketed + "encoder.layers = 2"), "accepted");
  EXPECT_EQ(refused("attention = { kind = \"causal\" }\nencoder.layers = 2"), "attention.kind");
  EXPECT_EQ(refused(bucketed + "encoder.layers = 2\npositions = \"learned\""), "positions");
  EXPECT_EQ(refused(bucketed + "encoder.rules = [{ layers = 0, dropout = 0.1 }]"), "encoder.rules");
  EXPECT_EQ(refused(bucketed + "rules = [{ layers = 1, attention = { heads = 4 } }]"), "attention");
  EXPECT_EQ(refused("attention = { kind = \"bucketed\", buckets = 30 }"), "attention.buckets");
  EXPECT_EQ(refused("attention = { kind = \"bucketed\", buckets = 32, max_distance = 16 }"),
            "attention.max_distance");
}

TEST(MoteVersion2, HasTheRouterThatAllItsModelsHad) {
  Json json = write_mote(config("feed_forward.router.entropy_weight = 0.25"));
  json["format_version"] = 2;
  json["feed_forward"]["router"] = {
      {"experts_per_token", 3}, {"expert_dropout", 0.1}, {"entropy_weight", 0.25}};
  for (const char* key : {"key_rank", "hidden_dropout", "init"}) json["feed_forward"].erase(key);
  Mixture want;
  want.router = {3, 0.1, 0.25};
  const FamilyModel model = read_mote(json, "config.json");
  EXPECT_EQ(to_json(model.config.feed_forward), to_json(FeedForwardConfig(want)));
  const auto refused = [](const Json& changed) {
    try {
      read_mote(changed, "config.json");
    } catch (const Error& error) {
      return error.field();
    }
    return std::string("accepted");
  };
  Json damaged = json;
  damaged["feed_forward"]["router"].erase("expert_dropout");
  EXPECT_EQ(refused(damaged), "feed_forward.router.expert_dropout");
  json["format_version"] = 3;
  EXPECT_EQ(refused(json), "feed_forward.router.score");
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
