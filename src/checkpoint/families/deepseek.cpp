#include <cmath>
#include <numeric>

#include "checkpoint/families/decoders.h"
#include "checkpoint/families/experts.h"

namespace mote::checkpoint {
namespace {

std::vector<NameRule> names() {
  return mixture_names(
      {{"blocks.#.attention.q_down.weight", "model.layers.#.self_attn.q_a_proj.weight"},
       {"blocks.#.attention.q_down.bias", "model.layers.#.self_attn.q_a_proj.bias"},
       {"blocks.#.attention.q_norm.weight", "model.layers.#.self_attn.q_a_layernorm.weight"},
       {"blocks.#.attention.q_up.weight", "model.layers.#.self_attn.q_b_proj.weight"},
       {"blocks.#.attention.kv_down.weight", "model.layers.#.self_attn.kv_a_proj_with_mqa.weight"},
       {"blocks.#.attention.kv_down.bias", "model.layers.#.self_attn.kv_a_proj_with_mqa.bias"},
       {"blocks.#.attention.kv_norm.weight", "model.layers.#.self_attn.kv_a_layernorm.weight"},
       {"blocks.#.attention.kv_up.weight", "model.layers.#.self_attn.kv_b_proj.weight"},
       {"blocks.#.feed_forward.shared.gate.weight",
        "model.layers.#.mlp.shared_experts.gate_proj.weight"},
       {"blocks.#.feed_forward.shared.up.weight",
        "model.layers.#.mlp.shared_experts.up_proj.weight"},
       {"blocks.#.feed_forward.shared.down.weight",
        "model.layers.#.mlp.shared_experts.down_proj.weight"}});
}

// By how much longer contexts sharpen attention: m^2, m = 0.1 mscale_all_dim ln(factor) + 1, as in
// DeepSeek's own code (specs/checkpoints 3).
double sharpening(const HfConfig& config) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!config.has(key)) continue;
    const Json& table = config.at(key);
    const double factor = table.value("factor", 1.0), all = table.value("mscale_all_dim", 0.0);
    const double m = factor > 1 ? 0.1 * all * std::log(factor) + 1 : 1;
    return m * m;
  }
  return 1;
}

Latent read_latent(const HfConfig& config, const ModelConfig& model) {
  Latent latent;
  latent.heads = model.attention.get_if<Rotary>()->heads;
  latent.q_rank = config.integer("q_lora_rank", 0);
  latent.kv_rank = config.integer("kv_lora_rank");
  latent.rope_dim = config.integer("qk_rope_head_dim");
  latent.head_dim = config.integer("qk_nope_head_dim") + latent.rope_dim;
  latent.value_dim = config.integer("v_head_dim");
  latent.bias = config.flag("attention_bias", false);
  latent.rotary = model.attention.get_if<Rotary>()->rotary;
  latent.rotary.pairs = RotaryPairs::adjacent;
  if (const double times = sharpening(config); times != 1 && latent.head_dim > 0)
    latent.scale = times / std::sqrt(static_cast<double>(latent.head_dim));
  config.ignore({"head_dim", "num_key_value_heads", "qk_head_dim"});
  return latent;
}

GroupedTop read_groups(const HfConfig& config, GroupScore score) {
  return {config.integer("n_group"), config.integer("topk_group"), score};
}

// Of both versions.
ModelConfig read_deepseek(const HfConfig& config, Mixture& mixture) {
  ModelConfig model = read_decoder(config, 10000);
  config.only("mlp_bias", false);
  config.only("moe_layer_freq", 1);
  config.ignore({"num_nextn_predict_layers", "ep_size", "aux_loss_alpha", "seq_aux"});
  model.attention = read_latent(config, model);
  mixture = read_mixture(config, "moe_intermediate_size", model);
  mixture.shared.width = mixture.expert_width * config.integer("n_shared_experts", 0);
  return model;
}

FamilyModel finished_deepseek(const HfConfig& config, ModelConfig model, const Mixture& mixture,
                              const FamilySource& source) {
  static const std::vector<NameRule> kNames = names();
  const std::int64_t dense = config.integer("first_k_dense_replace", 0);
  if (dense < 0 || dense > model.layers)
    throw_config_error({config.file(), "first_k_dense_replace"},
                       concat("is ", dense, ", num_hidden_layers is ", model.layers));
  std::vector<std::int64_t> first(static_cast<std::size_t>(dense));
  std::iota(first.begin(), first.end(), 0);
  set_mixture(mixture, first, config.file(), model);
  return finished(config, std::move(model), kNames, source);
}

}  // namespace

FamilyModel read_deepseek_v2(FamilySource source) {
  const HfConfig config(source.config, source.file);
  Mixture mixture;
  ModelConfig model = read_deepseek(config, mixture);
  config.only("scoring_func", "softmax");
  RouterConfig& router = mixture.router;
  // DeepSeek's own code scales gates only where it does not divide them by their sum.
  router.renormalise = config.flag("norm_topk_prob", false) && mixture.router.experts_per_token > 1;
  const double scale = config.number("routed_scaling_factor", 1);
  if (!router.renormalise) router.gate_scale = scale;
  const std::string method = config.word("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    router.select = read_groups(config, GroupScore::best);
  } else {
    config.only("topk_method", "greedy");
    config.ignore({"n_group", "topk_group"});
  }
  return finished_deepseek(config, std::move(model), mixture, source);
}

FamilyModel read_deepseek_v3(FamilySource source) {
  const HfConfig config(source.config, source.file);
  Mixture mixture;
  ModelConfig model = read_deepseek(config, mixture);
  config.only("scoring_func", "sigmoid");
  config.only("topk_method", "noaux_tc");
  if (!config.flag("rope_interleave", true))
    model.attention.get_if<Latent>()->rotary.pairs = RotaryPairs::halves;
  RouterConfig& router = mixture.router;
  router.gate = Gate::sigmoid;
  router.selection_bias = true;
  router.renormalise = config.flag("norm_topk_prob", true);
  router.gate_scale = config.number("routed_scaling_factor", 2.5);
  router.select = read_groups(config, GroupScore::best_two);
  return finished_deepseek(config, std::move(model), mixture, source);
}

}  // namespace mote::checkpoint
