#include "checkpoint/hf_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "checkpoint/families/decoders.h"
#include "checkpoint/names.h"

namespace mote::checkpoint {
namespace {

Json llama() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "attention_bias": false, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 56,
    "max_position_embeddings": 128, "num_attention_heads": 4, "num_hidden_layers": 3,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 5000.0, "vocab_size": 160})");
}

ModelConfig read(const Json& json, FamilyModel (*family)(FamilySource) = read_llama) {
  return family({json, "config.json", {}}).config;
}

// The field that an error names.
// Of a layer's attention.
Rotary attention(const ModelConfig& model, std::int64_t layer = 0) {
  const LayerConfig resolved = layer_config(model, layer);
  return *resolved.attention.get_if<Rotary>();
}

std::string refused(const Json& json, FamilyModel (*family)(FamilySource) = read_llama) {
  try {
    read(json, family);
  } catch (const Error& error) {
    return error.field();
  }
  return "accepted";
}

TEST(HfConfig, OfLlamaGivesItsSizes) {
  const ModelConfig model = read(llama());
  EXPECT_EQ(model.layers, 3);
  EXPECT_EQ(model.norms.kind, NormKind::rms);
  EXPECT_EQ(model.norms.epsilon, 1e-6);
  EXPECT_FALSE(model.tied);
  const auto* attention = model.attention.get_if<Rotary>();
  ASSERT_TRUE(attention);
  EXPECT_EQ(attention->heads, 4);
  EXPECT_EQ(attention->key_heads, 2);
  EXPECT_EQ(attention->head_dim, 8);
  EXPECT_EQ(attention->rotary.base, 5000);
  const auto* dense = model.feed_forward.get_if<Dense>();
  ASSERT_TRUE(dense);
  EXPECT_EQ(dense->width, 56);
  EXPECT_EQ(dense->activation, NeuronActivation::silu);
  EXPECT_TRUE(dense->gated);
}

TEST(HfConfig, NamesTheFieldThatNobodyReads) {
  Json json = llama();
  json["residual_multiplier"] = 0.22;
  EXPECT_EQ(refused(json), "residual_multiplier");
  json["residual_multiplier"] = nullptr;  // a null is absent
  EXPECT_EQ(refused(json), "accepted");
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"temperature", 3}};
  EXPECT_EQ(refused(json), "rope_scaling.temperature");
}

TEST(HfConfig, NamesWhatIsMissingOrOfAnotherType) {
  Json json = llama();
  json.erase("hidden_size");
  EXPECT_EQ(refused(json), "hidden_size");
  json["hidden_size"] = "32";
  EXPECT_EQ(refused(json), "hidden_size");
  json["hidden_size"] = 32;
  json["num_attention_heads"] = 0;
  EXPECT_EQ(refused(json), "num_attention_heads");
  json["num_attention_heads"] = 3;
  EXPECT_EQ(refused(json), "attention.key_heads");
  json["num_attention_heads"] = 4;
  json["hidden_act"] = "relu2";
  EXPECT_EQ(refused(json), "hidden_act");
}

TEST(HfConfig, RefusesNumbersThatNoModelHas) {
  const auto with = [](const char* key, const Json& value) {
    Json json = llama();
    json[key] = value;
    return refused(json);
  };
  EXPECT_EQ(with("num_hidden_layers", 1'000'000'000'000'000), "layers");
  EXPECT_EQ(with("num_hidden_layers", 0), "layers");
  EXPECT_EQ(with("hidden_size", -32), "dim");
  EXPECT_EQ(with("head_dim", 0), "attention.head_dim");
  EXPECT_EQ(with("head_dim", 7), "attention.rotary.dim");
  EXPECT_EQ(with("rms_norm_eps", -1.0), "norms.epsilon");
  EXPECT_EQ(with("rope_theta", 0.0), "attention.rotary.base");
  EXPECT_EQ(with("rope_scaling", {{"type", "linear"}, {"factor", 0.0}}),
            "attention.rotary.scaling.factor");
  EXPECT_EQ(with("rope_scaling",
                 {{"type", "yarn"}, {"factor", 2.0}, {"original_max_position_embeddings", 1e300}}),
            "rope_scaling.original_max_position_embeddings");
}

TEST(HfConfig, RotaryBaseComesFromRopeParametersFirst) {
  Json json = llama();
  json.erase("rope_theta");
  const auto base = [](const Json& of) { return attention(read(of)).rotary.base; };
  EXPECT_EQ(base(json), 10000);
  json["rope_parameters"] = {{"rope_theta", 70000.0}, {"rope_type", "default"}};
  EXPECT_EQ(base(json), 70000);
  json["rope_theta"] = 70000.0;
  EXPECT_EQ(base(json), 70000);
  json["rope_theta"] = 80000.0;
  EXPECT_EQ(refused(json), "rope_theta");
}

TEST(HfConfig, WindowsAreOfTheLayersNamed) {
  Json json = llama();
  json["model_type"] = "mistral";
  json.erase("attention_bias");
  json["sliding_window"] = 7;
  EXPECT_EQ(attention(read(json, read_mistral)).window, 7);
  json["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
  const ModelConfig model = read(json, read_mistral);
  EXPECT_EQ(attention(model, 0).window, 0);
  EXPECT_EQ(attention(model, 1).window, 7);
  json["layer_types"] = {"full_attention"};
  EXPECT_EQ(refused(json, read_mistral), "layer_types");
  json["layer_types"] = {"full_attention", "linear_attention", "full_attention"};
  EXPECT_EQ(refused(json, read_mistral), "layer_types.1");
}

// Version 4 spells it by a pattern and two bases, version 5 by types of layers.
TEST(HfConfig, OfGemma3IsTheSameInBothVersions) {
  Json json = llama();
  for (const char* key : {"attention_bias", "hidden_act", "rope_theta"}) json.erase(key);
  json["num_hidden_layers"] = 7;
  json["sliding_window"] = 5;
  json["query_pre_attn_scalar"] = 16;
  Json newer = json;
  json["sliding_window_pattern"] = 6;
  json["rope_theta"] = 1e6;
  json["rope_local_base_freq"] = 2e4;
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  newer["layer_types"] = Json::array();
  for (int i = 0; i < 7; ++i)
    newer["layer_types"].push_back(i == 5 ? "full_attention" : "sliding_attention");
  newer["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}};
  EXPECT_EQ(to_json(read(json, read_gemma3)), to_json(read(newer, read_gemma3)));
  const ModelConfig model = read(json, read_gemma3);
  EXPECT_EQ(attention(model, 4).window, 5);
  EXPECT_EQ(attention(model, 4).rotary.base, 2e4);
  EXPECT_STREQ(attention(model, 4).rotary.scaling.kind(), "none");
  EXPECT_STREQ(attention(model, 5).rotary.scaling.kind(), "linear");
  EXPECT_EQ(attention(model, 5).window, 0);
  EXPECT_EQ(attention(model, 5).rotary.base, 1e6);
  EXPECT_EQ(attention(model, 5).scale, 0.25);
  EXPECT_TRUE(model.tied);
}

TEST(HfConfig, QwenHasWindowsOnlyWhereItSaysSo) {
  Json json = llama();
  json.erase("attention_bias");
  json["sliding_window"] = 9;
  json["max_window_layers"] = 2;
  json["use_sliding_window"] = false;
  EXPECT_TRUE(read(json, read_qwen2).rules.empty());
  json["use_sliding_window"] = true;
  const ModelConfig model = read(json, read_qwen2);
  EXPECT_EQ(attention(model, 1).window, 0);
  EXPECT_EQ(attention(model, 2).window, 9);
  EXPECT_TRUE(attention(model, 2).bias);
}

// An embedding and an output matrix of three numbers.
class TwoTensors final : public TensorSource {
 public:
  TwoTensors(std::vector<std::uint8_t> embedding, std::vector<std::uint8_t> head)
      : embedding_(std::move(embedding)), head_(std::move(head)) {
    add("model.embed_tokens.weight", embedding_);
    if (!head_.empty()) add("lm_head.weight", head_);
  }
  const std::map<std::string, Tensor>& tensors() const override { return tensors_; }
  const fs::path& path() const override { return path_; }
  std::string format() const override { return "safetensors"; }

 private:
  void add(const std::string& name, const std::vector<std::uint8_t>& bytes) {
    tensors_[name] = {Dtype::u8, {3}, std::as_bytes(std::span(bytes))};
  }
  const std::vector<std::uint8_t> embedding_, head_;
  std::map<std::string, Tensor> tensors_;
  const fs::path path_ = "model.safetensors";
};

TEST(HfConfig, AModelThatSaysItIsTiedIsNotWhereAnotherOutputMatrixIsStored) {
  Json json = llama();
  json["tie_word_embeddings"] = true;
  const auto read_with = [&](const TensorSource& tensors) {
    return read_llama({json, "config.json", [&]() -> const TensorSource& { return tensors; }});
  };
  const FamilyModel alone = read_with(TwoTensors({1, 2, 3}, {})),
                    twice = read_with(TwoTensors({1, 2, 3}, {1, 2, 3})),
                    differs = read_with(TwoTensors({1, 2, 3}, {1, 2, 4}));
  EXPECT_TRUE(alone.config.tied);
  EXPECT_TRUE(twice.config.tied);
  EXPECT_FALSE(differs.config.tied);
  EXPECT_FALSE(alone.ignored("lm_head.weight"));
  EXPECT_TRUE(twice.ignored("lm_head.weight"));
  EXPECT_FALSE(differs.ignored("lm_head.weight"));
}

double frequency(const RotaryConfig& config, std::int64_t head_dim, std::size_t pair) {
  return rotary_frequencies(config, head_dim).of_pair.at(pair);
}

TEST(RotaryFrequencies, FallWithThePair) {
  RotaryConfig config;
  EXPECT_EQ(frequency(config, 8, 0), 1);
  EXPECT_NEAR(frequency(config, 8, 1), 0.1, 1e-12);
  EXPECT_NEAR(frequency(config, 8, 3), 0.001, 1e-12);
  config.dim = 4;
  EXPECT_EQ(rotary_frequencies(config, 8).of_pair.size(), 2u);
  config.scaling = LinearScaling{4};
  EXPECT_EQ(frequency(config, 8, 0), 0.25);
}

// Llama 3.1: base 500,000, 128 columns, factor 8, low 1, high 4, context 8192. The wavelengths of pairs
// up to 28 are below 2048 and stay, those from 36 on are above 8192 and become 8 times as long.
TEST(RotaryFrequencies, OfLlama3StayWhereTheyAreFast) {
  RotaryConfig config, plain;
  config.base = plain.base = 500000;
  config.scaling = Llama3Scaling{8, 1, 4, 8192};
  const auto ratio = [&](std::size_t pair) {
    return frequency(config, 128, pair) / frequency(plain, 128, pair);
  };
  EXPECT_EQ(ratio(0), 1);
  EXPECT_EQ(ratio(28), 1);
  EXPECT_NEAR(ratio(36), 0.125, 1e-12);
  EXPECT_NEAR(ratio(63), 0.125, 1e-12);
  const double wavelength = 2 * std::numbers::pi / frequency(plain, 128, 32);
  const double smooth = (8192 / wavelength - 1) / 3;
  EXPECT_NEAR(ratio(32), (1 - smooth) / 8 + smooth, 1e-12);
}

TEST(RotaryFrequencies, OfYarnMoveFromOneEndToTheOther) {
  RotaryConfig config, plain;
  config.scaling = YarnScaling{40, 32, 1, 1.5, 4096, true};
  const auto ratio = [&](std::size_t pair) {
    return frequency(config, 64, pair) / frequency(plain, 64, pair);
  };
  EXPECT_EQ(ratio(0), 1);
  // 64 ln(4096 / (2 pi 32)) / (2 ln 10000) = 10.4, with one turn 22.5: rounded outwards to 10 and 23.
  EXPECT_EQ(ratio(10), 1);
  EXPECT_NEAR(ratio(16), (1 - 6.0 / 13) + 6.0 / 13 / 40, 1e-12);
  EXPECT_NEAR(ratio(23), 1 / 40.0, 1e-12);
  EXPECT_EQ(rotary_frequencies(config, 64).factor, 1.5);
}

TEST(HfConfig, YarnSharpensByTheFactorUnlessItSaysHow) {
  Json json = llama();
  json["rope_scaling"] = {
      {"rope_type", "yarn"}, {"factor", 40.0}, {"original_max_position_embeddings", 64}};
  const auto yarn = [](const Json& of) {
    const RotaryConfig rotary = attention(read(of)).rotary;
    return *rotary.scaling.get_if<YarnScaling>();
  };
  EXPECT_NEAR(yarn(json).attention_factor, 0.1 * std::log(40.0) + 1, 1e-12);
  EXPECT_EQ(yarn(json).context, 64);
  json["rope_scaling"]["mscale"] = 0.707;
  json["rope_scaling"]["mscale_all_dim"] = 0.707;
  EXPECT_EQ(yarn(json).attention_factor, 1);
  json["rope_scaling"]["attention_factor"] = 1.25;
  EXPECT_EQ(yarn(json).attention_factor, 1.25);
  json["rope_scaling"]["rope_type"] = "spiral";
  EXPECT_EQ(refused(json), "rope_scaling");
}

TEST(Names, AreTranslatedInBothDirections) {
  constexpr NameRule kRules[] = {{"blocks.#.up.#", "layers.#.w1.#.x"}, {"norm", "last"}};
  EXPECT_EQ(their_name(kRules, "blocks.12.up.3"), "layers.12.w1.3.x");
  EXPECT_EQ(our_name(kRules, "layers.12.w1.3.x"), "blocks.12.up.3");
  EXPECT_EQ(their_name(kRules, "norm"), "last");
  EXPECT_EQ(their_name(kRules, "blocks.12.up."), "");
  EXPECT_EQ(their_name(kRules, "blocks.x.up.3"), "");
  EXPECT_EQ(our_name(kRules, "layers.12.w1.3.xy"), "");
}

}  // namespace
}  // namespace mote::checkpoint
