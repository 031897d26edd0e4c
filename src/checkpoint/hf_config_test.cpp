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
  json.erase("layer_types");
  json["sliding_window"] = -3;
  EXPECT_EQ(refused(json, read_mistral), "sliding_window");
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
  const auto read_with = [&](std::vector<std::uint8_t> head) {
    return read_llama(
        {json, "config.json", [&] {
           return std::make_shared<const TwoTensors>(std::vector<std::uint8_t>{1, 2, 3}, head);
         }});
  };
  const FamilyModel alone = read_with({}), twice = read_with({1, 2, 3}),
                    differs = read_with({1, 2, 4});
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

TEST(Names, AreThoseOfTheFirstRuleWhoseTensorIsThere) {
  constexpr NameRule kRules[] = {{"blocks.#.up.#", "layers.#.w1.#.x"}, {"norm", "last"}};
  const auto theirs = [&](const std::string& ours) {
    return stored_by(kRules, ours, [](const std::string&) { return false; }).name;
  };
  EXPECT_EQ(theirs("blocks.12.up.3"), "layers.12.w1.3.x");
  EXPECT_EQ(theirs("norm"), "last");
  EXPECT_EQ(theirs("blocks.12.up."), "");
  EXPECT_EQ(theirs("blocks.x.up.3"), "");

  constexpr NameRule kStacks[] = {{"blocks.#.experts.up", "layers.#.experts.*.w3"},
                                  {"blocks.#.experts.up", "layers.#.gate_up", {0, 1, 2, 1}},
                                  {"blocks.#.experts.up", "layers.#.gate_up", {.mxfp4 = true}}};
  const auto stored = [&](const std::string& there) {
    return stored_by(kStacks, "blocks.7.experts.up",
                     [&](const std::string& name) { return name == there; });
  };
  EXPECT_EQ(stored("layers.7.experts.0.w3").name, "layers.7.experts.*.w3");
  EXPECT_EQ(stored("layers.7.gate_up").layout.part, 1);
  EXPECT_TRUE(stored("layers.7.gate_up_blocks").layout.mxfp4);
  EXPECT_EQ(stored("another").name, "layers.7.experts.*.w3") << "messages name the first";
  EXPECT_EQ(name_of_expert("layers.7.experts.*.w3", 12), "layers.7.experts.12.w3");
}

// ---- mixtures ---------------------------------------------------------------------------------------

Json mixture_json() {
  Json json = llama();
  json.erase("attention_bias");
  json["num_experts_per_tok"] = 2;
  json["num_local_experts"] = 8;
  return json;
}

Mixture mixture(const ModelConfig& model, std::int64_t layer = 0) {
  const LayerConfig resolved = layer_config(model, layer);
  return *resolved.feed_forward.get_if<Mixture>();
}

TEST(HfConfig, OfMixturesTakesEitherNameOfTheNumberOfExperts) {
  Json json = mixture_json();
  EXPECT_EQ(mixture(read(json, read_mixtral)).experts, 8);
  json["num_experts"] = 8;
  json.erase("num_local_experts");
  json["moe_intermediate_size"] = 20;
  EXPECT_EQ(mixture(read(json, read_qwen3_moe)).experts, 8);
  json.erase("num_experts");
  EXPECT_EQ(refused(json, read_qwen3_moe), "num_experts");
  json["num_experts"] = 1;
  EXPECT_EQ(refused(json, read_qwen3_moe), "feed_forward.router.experts_per_token");
}

// specs/checkpoints-2026 1: what is absent.
TEST(HfConfig, OfMixturesHasTheDefaultsOfTheFamily) {
  Json json = mixture_json();
  json.erase("rope_theta");
  json.erase("rms_norm_eps");
  json["moe_intermediate_size"] = 20;
  json["shared_expert_intermediate_size"] = 24;
  struct Want {
    FamilyModel (*family)(FamilySource);
    double base;
    bool renormalise;
    Gate gate;
  };
  for (const Want& want : {Want{read_mixtral, 1e6, true, Gate::softmax_before},
                           Want{read_olmoe, 1e4, false, Gate::softmax_before},
                           Want{read_qwen2_moe, 1e4, false, Gate::softmax_before},
                           Want{read_gpt_oss, 150000, false, Gate::softmax_after}}) {
    Json of = json;
    if (want.family != read_qwen2_moe)
      for (const char* key : {"moe_intermediate_size", "shared_expert_intermediate_size"})
        of.erase(key);
    const ModelConfig model = read(of, want.family);
    EXPECT_EQ(attention(model).rotary.base, want.base);
    EXPECT_EQ(mixture(model).router.renormalise, want.renormalise);
    EXPECT_EQ(mixture(model).router.gate, want.gate);
    EXPECT_TRUE(mixture(model).gated);
  }
}

TEST(HfConfig, OfQwenMixturesSaysWhichLayersAreDense) {
  Json json = mixture_json();
  json["moe_intermediate_size"] = 20;
  json["num_hidden_layers"] = 6;
  json["decoder_sparse_step"] = 2;
  json["mlp_only_layers"] = {3};
  const ModelConfig model = read(json, read_qwen3_moe);
  std::vector<bool> dense;
  for (std::int64_t i = 0; i < 6; ++i) {
    const LayerConfig layer = layer_config(model, i);
    dense.push_back(layer.feed_forward.get_if<Dense>() != nullptr);
  }
  EXPECT_EQ(dense, (std::vector<bool>{true, false, true, true, true, false}));
  EXPECT_EQ(mixture(model, 1).expert_width, 20);
  json["decoder_sparse_step"] = 0;
  EXPECT_EQ(refused(json, read_qwen3_moe), "decoder_sparse_step");
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = "3";
  EXPECT_EQ(refused(json, read_qwen3_moe), "mlp_only_layers");
}

// Layers 0, 2, 4 ... below max_window_layers, and all of them, as transformers has it.
TEST(HfConfig, QwenMixturesHaveOtherWindowsThanQwen) {
  Json json = mixture_json();
  json["sliding_window"] = 9;
  json["max_window_layers"] = 2;
  json["use_sliding_window"] = true;
  json["moe_intermediate_size"] = 20;
  json["shared_expert_intermediate_size"] = 24;
  const ModelConfig second = read(json, read_qwen2_moe);
  EXPECT_EQ(attention(second, 0).window, 9);
  EXPECT_EQ(attention(second, 1).window, 0);
  EXPECT_EQ(attention(second, 2).window, 0);
  json.erase("shared_expert_intermediate_size");
  const ModelConfig third = read(json, read_qwen3_moe);
  EXPECT_EQ(attention(third, 1).window, 9);
}

Json deepseek() {
  Json json = mixture_json();
  json.erase("num_local_experts");
  json.update(
      Json::parse(R"({"n_routed_experts": 8, "moe_intermediate_size": 20, "n_shared_experts": 2,
    "first_k_dense_replace": 1, "kv_lora_rank": 16, "q_lora_rank": null, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 12, "n_group": 4, "topk_group": 2})"));
  return json;
}

TEST(HfConfig, OfDeepSeekHasTheScaleOfItsOwnCode) {
  Json json = deepseek();
  const auto scale = [&](double factor, double all) {
    json["rope_scaling"] = {{"type", "yarn"},
                            {"factor", factor},
                            {"mscale", all},
                            {"mscale_all_dim", all},
                            {"original_max_position_embeddings", 64}};
    const ModelConfig model = read(json, read_deepseek_v3);
    return model.attention.get_if<Latent>()->scale;
  };
  EXPECT_NEAR(scale(40, 0.707), 0.1147214, 1e-7);
  EXPECT_NEAR(scale(40, 1), 0.1352338, 1e-7);
  json["rope_scaling"] = nullptr;
  const ModelConfig plain = read(json, read_deepseek_v3);
  EXPECT_EQ(plain.attention.get_if<Latent>()->scale, 0) << "1 / sqrt(192)";
  EXPECT_EQ(mixture(plain, 1).shared.width, 40);
  EXPECT_TRUE(layer_config(plain, 0).feed_forward.visit(
      [](const auto& kind) { return std::string(kind.kKind) == "dense"; }));
}

TEST(HfConfig, OfDeepSeekSaysWhichColumnsAreAPair) {
  Json json = deepseek();
  const auto pairs = [&] {
    const ModelConfig model = read(json, read_deepseek_v3);
    return model.attention.get_if<Latent>()->rotary.pairs;
  };
  EXPECT_EQ(pairs(), RotaryPairs::adjacent);
  json["rope_interleave"] = false;
  EXPECT_EQ(pairs(), RotaryPairs::halves);
  json["rope_interleave"] = "x";
  EXPECT_EQ(refused(json, read_deepseek_v3), "rope_interleave");
}

TEST(HfConfig, OfDeepSeekNamesWhatItDoesNotRead) {
  const auto with = [](const char* key, const Json& value, FamilyModel (*family)(FamilySource)) {
    Json json = deepseek();
    json[key] = value;
    return refused(json, family);
  };
  EXPECT_EQ(with("vocab_size", 160, read_deepseek_v3), "accepted");
  EXPECT_EQ(with("scoring_func", "softmax", read_deepseek_v3), "scoring_func");
  EXPECT_EQ(with("topk_method", "noaux_tc", read_deepseek_v2), "topk_method");
  EXPECT_EQ(with("moe_layer_freq", 2, read_deepseek_v3), "moe_layer_freq");
  EXPECT_EQ(with("first_k_dense_replace", 9, read_deepseek_v3), "first_k_dense_replace");
  EXPECT_EQ(with("n_group", 3, read_deepseek_v3), "feed_forward.router.select.groups");
  EXPECT_EQ(with("topk_group", 5, read_deepseek_v3), "feed_forward.router.select.groups_per_token");
  EXPECT_EQ(with("kv_lora_rank", 0, read_deepseek_v3), "attention.kv_rank");
  EXPECT_EQ(with("quantization_config", {{"quant_method", "fp8"}}, read_deepseek_v3),
            "quantization_config");
}

TEST(HfConfig, GptOssIsMxfp4OrNotQuantised) {
  Json json = mixture_json();
  json["quantization_config"] = {{"quant_method", "mxfp4"}};
  EXPECT_EQ(refused(json, read_gpt_oss), "accepted");
  json["quantization_config"] = {{"quant_method", "gptq"}};
  EXPECT_EQ(refused(json, read_gpt_oss), "quantization_config");
}

TEST(RotaryFrequencies, OfLongScalingAreThoseOfTheSequencesLength) {
  Json json = llama();
  json["max_position_embeddings"] = 1024;
  json["rope_scaling"] = Json::parse(R"({"type": "longrope", "short_factor": [1, 2, 4, 8],
    "long_factor": [10, 20, 40, 80], "short_mscale": 1.25, "long_mscale": 1.5,
    "original_max_position_embeddings": 64})");
  RotaryConfig rotary = attention(read(json)).rotary;
  const RotaryFrequencies near = rotary_frequencies(rotary, 8, 64),
                          far = rotary_frequencies(rotary, 8, 65);
  for (std::size_t m = 0; m < 4; ++m) {
    const double plain = std::pow(5000, -0.25 * static_cast<double>(m));
    EXPECT_NEAR(near.of_pair[m], plain / std::pow(2, m), 1e-12);
    EXPECT_NEAR(far.of_pair[m], plain / 10 / std::pow(2, m), 1e-12);
  }
  EXPECT_EQ(near.factor, 1.25);
  EXPECT_EQ(far.factor, 1.5);
  EXPECT_EQ(most_positions_alike(rotary), 64);
  // Without scales of their own both are sharpened by the context's growth, 16 times here.
  json["rope_scaling"].erase("short_mscale");
  json["rope_scaling"].erase("long_mscale");
  rotary = attention(read(json)).rotary;
  EXPECT_NEAR(rotary_frequencies(rotary, 8, 1).factor, std::sqrt(1 + std::log(16) / std::log(64)),
              1e-12);
  json["rope_scaling"]["short_factor"] = {1, 2, 4};
  EXPECT_EQ(refused(json), "attention.rotary.scaling.short");
  json["rope_scaling"]["short_factor"] = {1, 2, 4, 0};
  EXPECT_EQ(refused(json), "attention.rotary.scaling.short");
}

}  // namespace
}  // namespace mote::checkpoint
