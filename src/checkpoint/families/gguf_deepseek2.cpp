#include <cmath>
#include <numeric>

#include "checkpoint/families/architectures.h"
#include "checkpoint/families/experts.h"
#include "checkpoint/families/gguf_experts.h"

namespace mote::checkpoint {
namespace {

constexpr NameRule kNames[] = {{"blocks.#.attention.q_down.weight", "blk.#.attn_q_a.weight"},
                               {"blocks.#.attention.q_norm.weight", "blk.#.attn_q_a_norm.weight"},
                               {"blocks.#.attention.q_up.weight", "blk.#.attn_q_b.weight"},
                               {"blocks.#.attention.kv_down.weight", "blk.#.attn_kv_a_mqa.weight"},
                               {"blocks.#.attention.kv_norm.weight", "blk.#.attn_kv_a_norm.weight"},
                               {"blocks.#.attention.kv_up.weight", "blk.#.attn_kv_b.weight"}};

// Scores of longer contexts are sharpened: m^2, m = 1 + yarn_log_multiplier ln(factor); cosines and sines
// are not, whatever YaRN says.
Latent read_latent(const GgufConfig& config, const Rotary& decoder, double epsilon) {
  Latent latent;
  latent.heads = decoder.heads;
  latent.q_rank = config.integer("attention.q_lora_rank", 0);
  latent.kv_rank = config.integer("attention.kv_lora_rank");
  latent.head_dim = decoder.head_dim;
  latent.value_dim = config.integer("attention.value_length", decoder.head_dim);
  latent.rope_dim = config.integer("rope.dimension_count");
  latent.rotary = decoder.rotary;
  latent.epsilon = epsilon;
  latent.rotary.pairs = RotaryPairs::adjacent;
  latent.rotary.dim = 0;
  const double log_multiplier = config.number("rope.scaling.yarn_log_multiplier", 0);
  if (auto* yarn = latent.rotary.scaling.get_if<YarnScaling>()) {
    yarn->attention_factor = 1;
    const double m = 1 + log_multiplier * std::log(yarn->factor);
    if (m != 1) latent.scale = m * m / std::sqrt(static_cast<double>(latent.head_dim));
  }
  return latent;
}

Mixture read_mixture(const GgufConfig& config, const GgufSource& file, std::int64_t dense_layers) {
  Mixture mixture;
  mixture.experts = config.integer("expert_count");
  mixture.expert_width = config.integer("expert_feed_forward_length");
  mixture.activation = NeuronActivation::silu;
  mixture.gated = true;
  mixture.shared.width = mixture.expert_width * config.integer("expert_shared_count", 0);
  RouterConfig& router = mixture.router;
  router.experts_per_token = config.integer("expert_used_count");
  const std::int64_t function = config.integer("expert_gating_func", 1);
  if (function != 1 && function != 2)
    config.refuse("expert_gating_func", concat("is ", function,
                                               "; 1 (softmax) and 2 (sigmoid) are "
                                               "read"));
  router.gate = function == 2 ? Gate::sigmoid : Gate::softmax_before;
  router.renormalise = config.flag("expert_weights_norm", false);
  router.gate_scale = config.number("expert_weights_scale", 1);
  router.selection_bias = file.has(concat("blk.", dense_layers, ".exp_probs_b.bias"));
  if (const std::int64_t groups = config.integer("expert_group_count", 1); groups > 1)
    router.select =
        GroupedTop{groups, config.integer("expert_group_used_count"), GroupScore::best_two};
  else
    config.ignore({"expert_group_used_count"});
  return mixture;
}

}  // namespace

// DeepSeek V2 and V3, with keys and values of all heads in one matrix (attn_kv_b); files that have them
// apart, as newer ones do, say so by key_length_mla, which is not known here.
FamilyModel read_gguf_deepseek2(const GgufSource& file) {
  const GgufConfig config(file);
  ModelConfig model = read_gguf_decoder(config, file, 10000);
  model.attention = read_latent(config, *model.attention.get_if<Rotary>(), model.norms.epsilon);
  const std::int64_t dense = config.integer("leading_dense_block_count", 0);
  if (dense < 0 || dense > model.layers)
    config.refuse("leading_dense_block_count",
                  concat("is ", dense, ", block_count is ", model.layers));
  std::vector<std::int64_t> first(static_cast<std::size_t>(dense));
  std::iota(first.begin(), first.end(), 0);
  set_mixture(read_mixture(config, file, dense), first, config.file(), model);
  return finished(config, std::move(model), kNames);
}

}  // namespace mote::checkpoint
