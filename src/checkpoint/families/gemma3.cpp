#include <cmath>

#include "checkpoint/families/decoder.h"
#include "checkpoint/families/decoders.h"
#include "kernels/core/dtype.h"

namespace mote::checkpoint {
namespace {

std::vector<NameRule> names() {
  std::vector<NameRule> rules = {
      {"blocks.#.feed_forward_norm.weight", "model.layers.#.pre_feedforward_layernorm.weight"},
      {"blocks.#.after_attention_norm.weight", "model.layers.#.post_attention_layernorm.weight"},
      {"blocks.#.after_feed_forward_norm.weight",
       "model.layers.#.post_feedforward_layernorm.weight"}};
  rules.insert(rules.end(), decoder_names().begin(), decoder_names().end());
  return rules;
}

// Of the square root of the width, what is left of it in the type of the weights.
double embedding_scale(const HfConfig& config, std::int64_t dim) {
  const auto root = static_cast<float>(std::sqrt(static_cast<double>(dim)));
  const std::string type = config.word("dtype", config.word("torch_dtype", "float32"));
  if (type == "bfloat16") return static_cast<double>(kernels::from_bf16(kernels::to_bf16(root)));
  return static_cast<double>(root);
}

}  // namespace

// Gemma 3, text: every sixth layer sees all, the others a window with positions of a base of their own.
FamilyModel read_gemma3(FamilySource source) {
  static const std::vector<NameRule> kNames = names();
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 1e6, true, "full_attention");
  model.norms.weight_offset = 1;
  model.norms.after = true;
  model.embedding_scale = embedding_scale(config, model.dim);
  dense_of(model).activation = read_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  Rotary& attention = attention_of(model);
  attention.bias = attention.output_bias = config.flag("attention_bias", false);
  attention.head_norm = HeadNorm::head;
  attention.scale = 1 / std::sqrt(config.number("query_pre_attn_scalar", 256));
  config.only("use_bidirectional_attention", false);

  RotaryConfig local;
  local.base = config.number("rope_local_base_freq", 10000);
  if (const Json* tables = config.has("rope_parameters") ? &config.at("rope_parameters") : nullptr;
      tables && tables->is_object() && tables->contains("sliding_attention"))
    local = config.rotary(10000, model.context, "sliding_attention");
  const std::int64_t pattern =
      config.integer("sliding_window_pattern", config.integer("_sliding_window_pattern", 6));
  if (pattern < 1)
    throw_config_error({config.file(), "sliding_window_pattern"}, concat("is ", pattern));
  read_windows(
      config, config.integer("sliding_window", 4096),
      [pattern](std::int64_t layer) { return (layer + 1) % pattern != 0; },
      {{"rotary", to_json(local)}}, model);
  return finished(config, std::move(model), kNames, source);
}

}  // namespace mote::checkpoint
