#include "checkpoint/families/gguf_model_keys.h"

#include <cmath>

namespace mote::checkpoint {
namespace {

// Keys of one architecture, whose name stands before each.
class Keys {
 public:
  Keys(std::string architecture, GgufKeyList& list)
      : architecture_(std::move(architecture)), list_(list) {}

  void size(const char* name, std::int64_t value) const {
    list_.add(full(name), static_cast<std::uint32_t>(value));
  }
  void number(const char* name, double value) const {
    list_.add(full(name), static_cast<float>(value));
  }
  void flag(const char* name, bool value) const { list_.add(full(name), value); }
  void word(const char* name, const std::string& value) const { list_.add_text(full(name), value); }
  void flags(const char* name, const std::vector<std::uint8_t>& values) const {
    list_.add(full(name),
              {GgufType::boolean, true, values.size(), std::as_bytes(std::span(values))});
  }

 private:
  std::string full(const char* name) const { return architecture_ + "." + name; }
  const std::string architecture_;
  GgufKeyList& list_;
};

// The first of its kind in the layers; none: null.
template <class Kind>
std::optional<Kind> first_feed_forward(const ModelConfig& config) {
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const LayerConfig layer = layer_config(config, i);
    if (const auto* found = layer.feed_forward.get_if<Kind>()) return *found;
  }
  return std::nullopt;
}

// Gates are a setting of this architecture alone.
void add_deepseek_experts(const ModelConfig& config, const Mixture& mixture, const Keys& keys) {
  std::int64_t dense = 0;
  while (layer_config(config, dense).feed_forward.kind() == std::string_view(Dense::kKind)) ++dense;
  keys.size("leading_dense_block_count", dense);
  keys.size("expert_shared_count", mixture.shared.width / mixture.expert_width);
  keys.size("expert_gating_func", mixture.router.gate == Gate::sigmoid ? 2 : 1);
  keys.flag("expert_weights_norm", mixture.router.renormalise);
  keys.number("expert_weights_scale", mixture.router.gate_scale);
  if (const auto* grouped = mixture.router.select.get_if<GroupedTop>()) {
    keys.size("expert_group_count", grouped->groups);
    keys.size("expert_group_used_count", grouped->groups_per_token);
  }
}

void add_experts(const ModelConfig& config, bool deepseek, const Keys& keys) {
  const auto dense = first_feed_forward<Dense>(config);
  const auto mixture = first_feed_forward<Mixture>(config);
  if (dense || mixture)
    keys.size("feed_forward_length", dense ? dense->width : mixture->expert_width);
  if (!mixture) return;
  keys.size("expert_count", mixture->experts);
  keys.size("expert_used_count", mixture->router.experts_per_token);
  keys.size("expert_feed_forward_length", mixture->expert_width);
  if (mixture->shared.width > 0 && !deepseek)
    keys.size("expert_shared_feed_forward_length", mixture->shared.width);
  if (deepseek) add_deepseek_experts(config, *mixture, keys);
}

void add_scaling(const RotaryConfig& rotary, bool latent, const Keys& keys) {
  if (const auto* linear = rotary.scaling.get_if<LinearScaling>()) {
    keys.word("rope.scaling.type", "linear");
    keys.number("rope.scaling.factor", linear->factor);
  } else if (const auto* yarn = rotary.scaling.get_if<YarnScaling>()) {
    keys.word("rope.scaling.type", "yarn");
    keys.number("rope.scaling.factor", yarn->factor);
    keys.size("rope.scaling.original_context_length", yarn->context);
    keys.number("rope.scaling.yarn_beta_fast", yarn->fast);
    keys.number("rope.scaling.yarn_beta_slow", yarn->slow);
    const double usual = yarn->factor <= 1 ? 1 : 0.1 * std::log(yarn->factor) + 1;
    if (yarn->attention_factor != usual && !latent)
      keys.number("rope.scaling.attn_factor", yarn->attention_factor / usual);
  }
}

void add_latent(const Latent& latent, const Keys& keys) {
  if (latent.q_rank > 0) keys.size("attention.q_lora_rank", latent.q_rank);
  keys.size("attention.kv_lora_rank", latent.kv_rank);
  keys.number("rope.freq_base", latent.rotary.base);
  keys.size("rope.dimension_count", latent.rope_dim);
  add_scaling(latent.rotary, true, keys);
  const auto* yarn = latent.rotary.scaling.get_if<YarnScaling>();
  if (!yarn || yarn->factor <= 1) return;
  const double sharpening =
      latent.scale > 0 ? latent.scale * std::sqrt(static_cast<double>(latent.head_dim)) : 1;
  keys.number("rope.scaling.yarn_log_multiplier",
              (std::sqrt(sharpening) - 1) / std::log(yarn->factor));
}

// Windows; with a pattern every n-th layer sees all, or there is a flag for each layer.
void add_windows(const ModelConfig& config, bool pattern, const Keys& keys) {
  std::int64_t window = 0, first_whole = config.layers;
  double local_base = 0;
  std::vector<std::uint8_t> slides;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const LayerConfig layer = layer_config(config, i);
    const auto* attention = layer.attention.get_if<Rotary>();
    slides.push_back(attention && attention->window > 0);
    if (slides.back()) {
      window = attention->window;
      local_base = attention->rotary.base;
    } else if (first_whole == config.layers) {
      first_whole = i;
    }
  }
  if (window == 0) return;
  keys.size("attention.sliding_window", window);
  if (!pattern) return;
  keys.number("rope.freq_base_swa", local_base);
  const std::int64_t every = first_whole + 1;
  bool regular = true;
  for (std::int64_t i = 0; i < config.layers; ++i)
    regular = regular && slides[static_cast<std::size_t>(i)] == ((i + 1) % every != 0 ? 1 : 0);
  if (regular)
    keys.size("attention.sliding_window_pattern", every);
  else
    keys.flags("attention.sliding_window_pattern", slides);
}

}  // namespace

GgufKeyList gguf_model_keys(const std::string& architecture, const ModelConfig& config) {
  GgufKeyList list;
  list.add_text("general.architecture", architecture);
  const Keys keys(architecture, list);
  keys.size("block_count", config.layers);
  keys.size("context_length", config.context);
  keys.size("embedding_length", config.dim);
  keys.size("vocab_size", config.vocab_size);
  keys.number("attention.layer_norm_rms_epsilon", config.norms.epsilon);
  keys.size("attention.head_count", heads_of(config.attention));
  keys.size("attention.head_count_kv", key_heads_of(config.attention));
  keys.size("attention.key_length", head_dim_of(config.attention));
  keys.size("attention.value_length", value_dim_of(config.attention));
  if (const auto* attention = config.attention.get_if<Rotary>()) {
    const RotaryConfig& rotary = attention->rotary;
    keys.number("rope.freq_base", rotary.base);
    keys.size("rope.dimension_count", rotary.dim > 0 ? rotary.dim : attention->head_dim);
    add_scaling(rotary, false, keys);
  }
  if (architecture == "gemma3" || architecture == "gpt-oss")  // no other has them
    add_windows(config, architecture == "gemma3", keys);
  if (const auto* latent = config.attention.get_if<Latent>()) add_latent(*latent, keys);
  add_experts(config, architecture == "deepseek2", keys);
  return list;
}

std::vector<float> gguf_rotary_divisors(const ModelConfig& config) {
  const auto* attention = config.attention.get_if<Rotary>();
  if (!attention || !(attention->rotary.scaling.get_if<Llama3Scaling>() ||
                      attention->rotary.scaling.get_if<LongScaling>()))
    return {};
  RotaryConfig plain = attention->rotary;
  plain.scaling = NoScaling{};
  const auto whole = rotary_frequencies(plain, attention->head_dim),
             scaled = rotary_frequencies(attention->rotary, attention->head_dim);
  std::vector<float> divisors;
  for (std::size_t i = 0; i < whole.of_pair.size(); ++i)
    divisors.push_back(static_cast<float>(whole.of_pair[i] / scaled.of_pair[i]));
  return divisors;
}

}  // namespace mote::checkpoint
