#include "checkpoint/families/decoder.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace mote::checkpoint {
namespace {

constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

constexpr NameRule kNames[] = {
    {"embedding.weight", kEmbedding},
    {"head.weight", kHead},
    {"head.bias", "lm_head.bias"},
    {"norm.weight", "model.norm.weight"},
    {"norm.bias", "model.norm.bias"},
    {"blocks.#.attention_norm.weight", "model.layers.#.input_layernorm.weight"},
    {"blocks.#.attention_norm.bias", "model.layers.#.input_layernorm.bias"},
    {"blocks.#.feed_forward_norm.weight", "model.layers.#.post_attention_layernorm.weight"},
    {"blocks.#.feed_forward_norm.bias", "model.layers.#.post_attention_layernorm.bias"},
    {"blocks.#.attention.q.weight", "model.layers.#.self_attn.q_proj.weight"},
    {"blocks.#.attention.k.weight", "model.layers.#.self_attn.k_proj.weight"},
    {"blocks.#.attention.v.weight", "model.layers.#.self_attn.v_proj.weight"},
    {"blocks.#.attention.out.weight", "model.layers.#.self_attn.o_proj.weight"},
    {"blocks.#.attention.q.bias", "model.layers.#.self_attn.q_proj.bias"},
    {"blocks.#.attention.k.bias", "model.layers.#.self_attn.k_proj.bias"},
    {"blocks.#.attention.v.bias", "model.layers.#.self_attn.v_proj.bias"},
    {"blocks.#.attention.out.bias", "model.layers.#.self_attn.o_proj.bias"},
    {"blocks.#.attention.q_norm.weight", "model.layers.#.self_attn.q_norm.weight"},
    {"blocks.#.attention.k_norm.weight", "model.layers.#.self_attn.k_norm.weight"},
    {"blocks.#.attention.sinks", "model.layers.#.self_attn.sinks"},
    {"blocks.#.feed_forward.gate.weight", "model.layers.#.mlp.gate_proj.weight"},
    {"blocks.#.feed_forward.up.weight", "model.layers.#.mlp.up_proj.weight"},
    {"blocks.#.feed_forward.down.weight", "model.layers.#.mlp.down_proj.weight"},
    {"blocks.#.feed_forward.gate.bias", "model.layers.#.mlp.gate_proj.bias"},
    {"blocks.#.feed_forward.up.bias", "model.layers.#.mlp.up_proj.bias"},
    {"blocks.#.feed_forward.down.bias", "model.layers.#.mlp.down_proj.bias"},
};

// Whether the files decide where a parameter lies.
bool has_alternatives(std::span<const NameRule> names) {
  std::set<std::string_view> ours;
  return std::any_of(names.begin(), names.end(),
                     [&](const NameRule& rule) { return !ours.insert(rule.ours).second; });
}

}  // namespace

void check_ranges(const ModelConfig& model, const std::string& file) {
  read_config<ModelConfig>(to_json(model), file);
}

std::span<const NameRule> decoder_names() {
  return kNames;
}

Rotary& attention_of(ModelConfig& model) {
  return *model.attention.get_if<Rotary>();
}
Dense& dense_of(ModelConfig& model) {
  return *model.feed_forward.get_if<Dense>();
}

NeuronActivation activation_named(const std::string& name, const Place& place) {
  if (name == "silu" || name == "swish") return NeuronActivation::silu;
  if (name == "gelu") return NeuronActivation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return NeuronActivation::gelu_tanh;
  if (name == "relu") return NeuronActivation::relu;
  throw Error(ErrorKind::unsupported,
              concat(place.file, ": ", place.key, " is '", name,
                     "'; silu, gelu, gelu_new, gelu_pytorch_tanh and relu are read"))
      .in(place.file)
      .at(place.key);
}

NeuronActivation read_activation(const HfConfig& config, const std::string& key,
                                 const std::string& otherwise) {
  return activation_named(config.word(key, otherwise), {config.file(), key});
}

ModelConfig read_decoder(const HfConfig& config, double rope_base, bool tied,
                         const char* layer_type) {
  ModelConfig model;
  model.vocab_size = config.integer("vocab_size");
  model.layers = config.integer("num_hidden_layers");
  model.dim = config.integer("hidden_size");
  model.context = config.integer("max_position_embeddings", 2048);
  model.tied = config.flag("tie_word_embeddings", tied);
  model.head.bias = false;
  model.norms.kind = NormKind::rms;
  model.norms.epsilon = config.number("rms_norm_eps", 1e-6);

  Rotary attention;
  attention.heads = config.integer("num_attention_heads");
  attention.key_heads = config.integer("num_key_value_heads", attention.heads);
  if (attention.heads < 1)
    throw_config_error({config.file(), "num_attention_heads"}, concat("is ", attention.heads));
  attention.head_dim = config.integer("head_dim", model.dim / attention.heads);
  attention.rotary = config.rotary(rope_base, model.context, layer_type);
  model.attention = attention;
  model.feed_forward = Dense{config.integer("intermediate_size"),
                             read_activation(config, "hidden_act", "silu"), true, false};
  check_ranges(model, config.file());
  return model;
}

void read_windows(const HfConfig& config, std::int64_t window,
                  const std::function<bool(std::int64_t layer)>& slides, Json changes,
                  ModelConfig& model) {
  if (window < 0)
    throw_config_error({config.file(), "sliding_window"},
                       concat("is ", window, "; positions to look back, or null"));
  std::vector<std::int64_t> sliding;
  if (config.has("layer_types")) {
    const Json& types = config.at("layer_types");
    const Place place{config.file(), "layer_types"};
    if (!types.is_array() || types.size() != static_cast<std::size_t>(model.layers))
      throw_config_error(
          place, concat("names ", types.size(), " layers, num_hidden_layers is ", model.layers));
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (types[i] == "sliding_attention")
        sliding.push_back(static_cast<std::int64_t>(i));
      else if (types[i] != "full_attention")
        throw_config_error(
            place.inside(std::to_string(i)),
            concat("is ", quoted(types[i]), "; full_attention and sliding_attention are read"));
    }
    if (!sliding.empty() && window == 0)
      throw_config_error(place, "has sliding_attention, and sliding_window is missing");
  } else if (window > 0) {
    for (std::int64_t i = 0; i < model.layers; ++i)
      if (slides(i)) sliding.push_back(i);
  }
  if (sliding.empty()) return;
  changes["window"] = window;
  model.rules.push_back(
      rule_from({{"layers", sliding}, {"attention", std::move(changes)}}, config.file()));
}

std::int64_t qwen_window(const HfConfig& config) {
  config.ignore({"sliding_window"});
  return config.flag("use_sliding_window", false) ? config.integer("sliding_window", 4096) : 0;
}

void read_qwen_windows(const HfConfig& config, ModelConfig& model) {
  const std::int64_t first = config.integer("max_window_layers", 28);
  read_windows(
      config, qwen_window(config), [first](std::int64_t layer) { return layer >= first; },
      Json::object(), model);
}

FamilyModel finished(const HfConfig& config, ModelConfig model, std::span<const NameRule> names,
                     const FamilySource& source) {
  config.check_all_used();
  std::shared_ptr<const TensorSource> tensors;
  if (source.tensors && (model.tied || has_alternatives(names))) tensors = source.tensors();
  bool second_copy = false;
  if (model.tied && tensors && tensors->has(kHead) && tensors->has(kEmbedding))
    model.tied = second_copy = same_values(tensors->at(kHead), tensors->at(kEmbedding));
  FamilyModel read;
  read.ignored = [second_copy, layers = model.layers](const std::string& tensor) {
    return (second_copy && tensor == kHead) || tensor.ends_with(".rotary_emb.inv_freq") ||
           number_after("model.layers.", tensor) >= layers;
  };
  check_ranges(model, config.file());
  validate(model, {config.file(), ""});
  read.config = std::move(model);
  read.stored = [names, tensors](const std::string& parameter) {
    return stored_by(names, parameter,
                     [&](const std::string& tensor) { return tensors && tensors->has(tensor); });
  };
  return read;
}

}  // namespace mote::checkpoint
