#include "checkpoint/families/hf_model_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"

namespace mote::checkpoint {
namespace {

constexpr std::pair<const char*, const char*> kClasses[] = {
    {"llama", "LlamaForCausalLM"},           {"mixtral", "MixtralForCausalLM"},
    {"qwen2", "Qwen2ForCausalLM"},           {"qwen3", "Qwen3ForCausalLM"},
    {"gemma3_text", "Gemma3ForCausalLM"},    {"olmoe", "OlmoeForCausalLM"},
    {"qwen2_moe", "Qwen2MoeForCausalLM"},    {"qwen3_moe", "Qwen3MoeForCausalLM"},
    {"gpt_oss", "GptOssForCausalLM"},        {"deepseek_v2", "DeepseekV2ForCausalLM"},
    {"deepseek_v3", "DeepseekV3ForCausalLM"}};

const char* class_of(const std::string& model_type) {
  for (const auto& [type, name] : kClasses)
    if (model_type == type) return name;
  throw Error(ErrorKind::unsupported, concat("no config.json is written of ", model_type));
}

// The shortest decimal number that is the same float32, where it is one: GGUF's 1e-5 is 9.99...e-6.
double as_people_write(double value) {
  const auto as_float = static_cast<float>(value);
  if (static_cast<double>(as_float) != value) return value;
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, as_float);
  std::from_chars(text, end, value);
  return value;
}

// Llama 3's scaling where a file has it as divisors: their largest is the factor, and the published models
// have 1, 4 and 8192 tokens besides.
std::optional<Llama3Scaling> as_llama3(const RotaryConfig& rotary, std::int64_t head_dim) {
  const auto* divided = rotary.scaling.get_if<LongScaling>();
  if (!divided || divided->short_factors != divided->long_factors) return std::nullopt;
  Llama3Scaling llama3;
  llama3.factor =
      std::round(*std::max_element(divided->long_factors.begin(), divided->long_factors.end()));
  RotaryConfig other = rotary;
  other.scaling = llama3;
  const auto want = rotary_frequencies(rotary, head_dim),
             found = rotary_frequencies(other, head_dim);
  for (std::size_t i = 0; i < want.of_pair.size(); ++i)
    if (std::abs(found.of_pair[i] / want.of_pair[i] - 1) > 1e-6) return std::nullopt;
  return llama3;
}

Json scaling_json(const RotaryConfig& rotary, std::int64_t head_dim) {
  if (const auto llama3 = as_llama3(rotary, head_dim)) {
    return {{"rope_type", "llama3"},
            {"factor", llama3->factor},
            {"low_freq_factor", llama3->low},
            {"high_freq_factor", llama3->high},
            {"original_max_position_embeddings", llama3->context}};
  }
  if (const auto* linear = rotary.scaling.get_if<LinearScaling>())
    return {{"rope_type", "linear"}, {"factor", linear->factor}};
  if (const auto* yarn = rotary.scaling.get_if<YarnScaling>()) {
    Json json = {{"rope_type", "yarn"},
                 {"factor", yarn->factor},
                 {"beta_fast", yarn->fast},
                 {"beta_slow", yarn->slow},
                 {"attention_factor", yarn->attention_factor},
                 {"original_max_position_embeddings", yarn->context}};
    if (!yarn->truncate) json["truncate"] = false;
    return json;
  }
  if (const auto* divided = rotary.scaling.get_if<LongScaling>())
    return {{"rope_type", "longrope"},
            {"short_factor", divided->short_factors},
            {"long_factor", divided->long_factors},
            {"attention_factor", divided->long_scale},
            {"original_max_position_embeddings", divided->context}};
  return nullptr;
}

// Which layers see a window, and the base of their positions under `base_key`; null: that of all.
void add_windows(const ModelConfig& config, const char* base_key, Json& json) {
  Json types = Json::array();
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const LayerConfig layer = layer_config(config, i);
    const auto* of_layer = layer.attention.get_if<Rotary>();
    types.push_back(of_layer->window > 0 ? "sliding_attention" : "full_attention");
    if (of_layer->window == 0) continue;
    json["sliding_window"] = of_layer->window;
    if (base_key) json[base_key] = of_layer->rotary.base;
  }
  json["layer_types"] = types;
}

void add_gemma3(const ModelConfig& config, const Rotary& attention, Json& json) {
  json["hidden_activation"] = "gelu_pytorch_tanh";
  json["query_pre_attn_scalar"] = 1 / (attention.scale * attention.scale);
  // Published models have a whole number there.
  if (const double scalar = json["query_pre_attn_scalar"];
      std::abs(scalar - std::round(scalar)) < 1e-9 * scalar)
    json["query_pre_attn_scalar"] = static_cast<std::int64_t>(std::round(scalar));
  add_windows(config, "rope_local_base_freq", json);
}

void add_experts(const std::string& model_type, const ModelConfig& config, Json& json) {
  std::optional<Mixture> mixture;
  std::vector<std::int64_t> dense_layers;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const LayerConfig layer = layer_config(config, i);
    if (const auto* found = layer.feed_forward.get_if<Mixture>())
      mixture = *found;
    else
      dense_layers.push_back(i);
    if (const auto* dense = layer.feed_forward.get_if<Dense>())
      json["intermediate_size"] = dense->width;
  }
  if (!mixture) return;
  const bool qwen = model_type.starts_with("qwen");
  const bool local = model_type == "mixtral" || model_type == "gpt_oss";
  json[local ? "num_local_experts" : "num_experts"] = mixture->experts;
  json["num_experts_per_tok"] = mixture->router.experts_per_token;
  json[qwen ? "moe_intermediate_size" : "intermediate_size"] = mixture->expert_width;
  if (!local) json["norm_topk_prob"] = mixture->router.renormalise;
  if (!qwen) return;
  if (!json.contains("intermediate_size")) json["intermediate_size"] = mixture->expert_width;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = dense_layers;
  if (mixture->shared.width > 0) json["shared_expert_intermediate_size"] = mixture->shared.width;
}

}  // namespace

// Sizes and the scale of scores, of which YaRN's mscale_all_dim says how they are sharpened.
void add_latent(const Latent& latent, Json& json) {
  json["num_attention_heads"] = json["num_key_value_heads"] = latent.heads;
  json["q_lora_rank"] = latent.q_rank > 0 ? Json(latent.q_rank) : Json(nullptr);
  json["kv_lora_rank"] = latent.kv_rank;
  json["qk_rope_head_dim"] = latent.rope_dim;
  json["qk_nope_head_dim"] = latent.head_dim - latent.rope_dim;
  json["v_head_dim"] = latent.value_dim;
  json["attention_bias"] = latent.bias;
  json["rope_theta"] = as_people_write(latent.rotary.base);
  Json scaling = scaling_json(latent.rotary, latent.rope_dim);
  if (scaling.is_null()) return;
  const auto* yarn = latent.rotary.scaling.get_if<YarnScaling>();
  if (yarn && latent.scale > 0 && yarn->factor > 1) {
    const double m = std::sqrt(latent.scale * std::sqrt(static_cast<double>(latent.head_dim)));
    scaling["mscale"] = scaling["mscale_all_dim"] = (m - 1) / (0.1 * std::log(yarn->factor));
    scaling.erase("attention_factor");
  }
  json["rope_scaling"] = std::move(scaling);
}

void add_deepseek_experts(const std::string& model_type, const ModelConfig& config, Json& json) {
  const LayerConfig last = layer_config(config, config.layers - 1);
  const auto* mixture = last.feed_forward.get_if<Mixture>();
  MOTE_CHECK(mixture != nullptr, "the last layer has no experts; models of ", model_type, " have");
  std::int64_t dense = 0;
  json["intermediate_size"] = mixture->expert_width;
  for (; dense < config.layers; ++dense) {
    const LayerConfig layer = layer_config(config, dense);
    const auto* found = layer.feed_forward.get_if<Dense>();
    if (!found) break;
    json["intermediate_size"] = found->width;
  }
  const RouterConfig& router = mixture->router;
  json["first_k_dense_replace"] = dense;
  json["moe_intermediate_size"] = mixture->expert_width;
  json["n_routed_experts"] = mixture->experts;
  json["n_shared_experts"] = mixture->shared.width / mixture->expert_width;
  json["num_experts_per_tok"] = router.experts_per_token;
  json["norm_topk_prob"] = router.renormalise;
  json["routed_scaling_factor"] = as_people_write(router.gate_scale);
  if (const auto* grouped = router.select.get_if<GroupedTop>()) {
    json["n_group"] = grouped->groups;
    json["topk_group"] = grouped->groups_per_token;
  } else {
    json["n_group"] = json["topk_group"] = 1;
  }
}

Json hf_model_json(const std::string& model_type, const ModelConfig& config,
                   const std::string& dtype) {
  Json json = {{"architectures", {class_of(model_type)}},
               {"model_type", model_type},
               {"dtype", dtype},
               {"vocab_size", config.vocab_size},
               {"hidden_size", config.dim},
               {"num_hidden_layers", config.layers}};
  const auto* latent = config.attention.get_if<Latent>();
  if (latent && model_type.starts_with("deepseek")) {
    json.update({{"max_position_embeddings", config.context},
                 {"rms_norm_eps", as_people_write(config.norms.epsilon)},
                 {"tie_word_embeddings", config.tied},
                 {"hidden_act", "silu"}});
    add_latent(*latent, json);
    if (model_type == "deepseek_v3")
      json["rope_interleave"] = latent->rotary.pairs == RotaryPairs::adjacent;
    add_deepseek_experts(model_type, config, json);
    return json;
  }
  const auto* attention = config.attention.get_if<Rotary>();
  MOTE_CHECK(attention != nullptr, "attention.kind is ", config.attention.kind(), "; models of ",
             model_type, " have rotary attention");
  json.update({{"num_attention_heads", attention->heads},
               {"num_key_value_heads", attention->key_heads},
               {"head_dim", attention->head_dim},
               {"max_position_embeddings", config.context},
               {"rms_norm_eps", as_people_write(config.norms.epsilon)},
               {"rope_theta", as_people_write(attention->rotary.base)},
               {"tie_word_embeddings", config.tied}});
  if (Json scaling = scaling_json(attention->rotary, attention->head_dim); !scaling.is_null())
    json["rope_scaling"] = std::move(scaling);
  else if (model_type == "gpt_oss")  // without a word of it transformers scales by YaRN
    json["rope_scaling"] = {{"rope_type", "default"}};
  if (model_type == "gemma3_text")
    add_gemma3(config, *attention, json);
  else
    json["hidden_act"] = "silu";
  if (model_type == "gpt_oss") add_windows(config, nullptr, json);
  if (model_type == "qwen2_moe")
    json["qkv_bias"] = attention->bias;
  else if (model_type != "qwen2" && model_type != "mixtral")
    json["attention_bias"] = attention->bias;
  add_experts(model_type, config, json);
  return json;
}

}  // namespace mote::checkpoint
