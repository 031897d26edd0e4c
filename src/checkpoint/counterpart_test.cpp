#include "checkpoint/counterpart.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "checkpoint/same_model.h"
#include "tests/support/contains.h"

namespace mote::checkpoint {
namespace {

using test::contains;

ModelConfig llama() {
  ModelConfig config;
  config.vocab_size = 10, config.layers = 3, config.dim = 32, config.context = 131072;
  config.tied = true;
  config.head.bias = false;
  config.norms.kind = NormKind::rms;
  config.norms.epsilon = static_cast<double>(1e-5f);  // as GGUF has it
  Rotary attention;
  attention.heads = 4, attention.key_heads = 2, attention.head_dim = 64;
  attention.rotary.base = 500000;
  attention.rotary.pairs = RotaryPairs::adjacent;
  config.attention = attention;
  config.feed_forward = Dense{48, NeuronActivation::silu, true, false};
  return config;
}

const std::vector<TensorSpec>& specs() {
  static const std::vector<TensorSpec> all = {{"token_embd.weight", Dtype::f32, {10, 32}}};
  return all;
}

TEST(Counterpart, OfLlama3IsItsScalingThereAndBack) {
  ModelConfig config = llama();
  config.attention.get_if<Rotary>()->rotary.scaling = Llama3Scaling{32, 1, 4, 8192};
  const GgufForm gguf = gguf_form("llama", config, specs(), "m.gguf");
  ASSERT_EQ(gguf.rotary_divisors.size(), 32u);
  EXPECT_EQ(gguf.rotary_divisors.front(), 1);
  EXPECT_EQ(gguf.rotary_divisors.back(), 32);
  EXPECT_EQ(difference(config, gguf.model.config), "");

  const HfForm back = hf_form("llama", gguf.model.config, "float32", "config.json");
  const Json& scaling = back.json.at("rope_scaling");
  EXPECT_EQ(scaling.at("rope_type"), "llama3");
  EXPECT_EQ(scaling.at("factor"), 32.0);
  EXPECT_EQ(scaling.at("original_max_position_embeddings"), 8192);
  EXPECT_EQ(difference(config, back.model.config), "");
}

TEST(Counterpart, OfYarnIsYarn) {
  ModelConfig config = llama();
  YarnScaling yarn;
  yarn.factor = 4, yarn.context = 32768, yarn.attention_factor = 1.25;
  config.attention.get_if<Rotary>()->rotary.scaling = yarn;
  const GgufForm gguf = gguf_form("llama", config, specs(), "m.gguf");
  const HfForm back = hf_form("llama", gguf.model.config, "float32", "config.json");
  EXPECT_EQ(back.json.at("rope_scaling").at("rope_type"), "yarn");
  EXPECT_EQ(difference(config, back.model.config), "");
}

TEST(Counterpart, HasNumbersAsPeopleWriteThem) {
  const HfForm form = hf_form("llama", llama(), "bfloat16", "config.json");
  EXPECT_EQ(form.json.at("rms_norm_eps").get<double>(), 1e-5);
  EXPECT_EQ(form.json.at("model_type"), "llama");
  EXPECT_EQ(form.json.at("dtype"), "bfloat16");
  EXPECT_FALSE(form.json.contains("rope_scaling"));
}

TEST(Counterpart, OfGptOssSaysThatPositionsAreNotScaled) {
  ModelConfig config = llama();
  Rotary& attention = *config.attention.get_if<Rotary>();
  attention.rotary.pairs = RotaryPairs::halves;
  attention.bias = attention.output_bias = attention.sinks = true;
  Mixture mixture;
  mixture.experts = 4;
  mixture.gated = mixture.bias = true;
  mixture.activation = NeuronActivation::silu;
  mixture.unit = {1.702, 7, 1};
  mixture.router.experts_per_token = 2;
  mixture.router.score = LinearScore{true, true};
  mixture.router.gate = Gate::softmax_after;
  config.feed_forward = mixture;
  LayerRule rule;
  rule.read({{"layers", "::2"}, {"attention", {{"window", 128}}}}, {"", ""});
  config.rules.push_back(rule);
  const HfForm form = hf_form("gpt-oss", config, "bfloat16", "config.json");
  EXPECT_EQ(form.json.at("rope_scaling").at("rope_type"), "default");
  EXPECT_EQ(form.json.at("layer_types").at(0), "sliding_attention");
  EXPECT_EQ(form.json.at("layer_types").at(1), "full_attention");
}

TEST(Counterpart, IsRefusedWhereAFieldHasNoPlaceInIt) {
  const auto refusal = [](const ModelConfig& config) -> std::string {
    try {
      gguf_form("llama", config, specs(), "model");
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  ModelConfig config = llama();
  EXPECT_EQ(refusal(config), "accepted");
  config.head.scale = 0.5;
  EXPECT_TRUE(contains(refusal(config), "as llama: head.scale is 0.5 and 1.0"));
  config = llama();
  config.attention.get_if<Rotary>()->clip = 8;
  EXPECT_TRUE(contains(refusal(config), "as llama: layer 0: attention.clip is 8.0 and 0.0"));
  config.attention = TransformerXl{};
  EXPECT_TRUE(contains(refusal(config), "attention.kind is transformer_xl"));
  EXPECT_THROW(gguf_form("granitemoe", llama(), specs(), "model"), Error);
}

TEST(Counterpart, OfOursIsAnyArchitectureThatSaysTheSame) {
  ModelConfig config = llama();
  config.attention.get_if<Rotary>()->head_norm = HeadNorm::head;
  const GgufForm form = gguf_form("mote", config, specs(), "m.gguf");
  EXPECT_EQ(form.model.config.attention.kind(), std::string("rotary"));
  EXPECT_EQ(difference(config, form.model.config), "");
}

}  // namespace
}  // namespace mote::checkpoint
