#include <cmath>

#include "checkpoint/families/architectures.h"
#include "checkpoint/families/gguf_decoder.h"

namespace mote::checkpoint {
namespace {

constexpr std::size_t kMostLayers = 10000;

// Which layers see all: every n-th, or those that a list of flags does not name.
std::vector<std::int64_t> sliding_layers(const GgufConfig& config, const GgufSource& file,
                                         std::int64_t layers) {
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  std::vector<std::int64_t> sliding;
  if (config.has(kPattern) && file.keys().find(config.full(kPattern))->is_array) {
    const Json flags = to_json(*file.keys().find(config.full(kPattern)), kMostLayers);
    if (!flags.is_array() || static_cast<std::int64_t>(flags.size()) != layers)
      config.refuse(kPattern, concat("has other than ", layers, " flags, one for each layer"));
    for (std::int64_t i = 0; i < layers; ++i)
      if (flags[static_cast<std::size_t>(i)] == true) sliding.push_back(i);
    return sliding;
  }
  const std::int64_t every = config.integer(kPattern, 6);
  if (every < 1) config.refuse(kPattern, concat("is ", every, "; it must be 1 or more"));
  for (std::int64_t i = 0; i < layers; ++i)
    if ((i + 1) % every != 0) sliding.push_back(i);
  return sliding;
}

}  // namespace

// Gemma 3, text. Unlike Hugging Face's form norms are stored as they multiply, and the embedding's
// scale is not rounded, since llama.cpp, whose format it is, does not.
FamilyModel read_gguf_gemma3(const GgufSource& file) {
  const GgufConfig config(file);
  ModelConfig model = read_gguf_decoder(config, file, 1e6);
  model.norms.after = true;
  model.embedding_scale =
      static_cast<double>(static_cast<float>(std::sqrt(static_cast<double>(model.dim))));
  model.feed_forward.get_if<Dense>()->activation = NeuronActivation::gelu_tanh;
  Rotary& attention = *model.attention.get_if<Rotary>();
  attention.head_norm = HeadNorm::head;
  // The largest of them, of 62 layers, has a scale of its own.
  const std::int64_t scaled_by =
      model.layers == 62 ? model.dim / attention.heads : attention.head_dim;
  attention.scale = 1 / std::sqrt(static_cast<double>(scaled_by));

  const std::int64_t window = config.integer("attention.sliding_window", 0);
  const std::vector<std::int64_t> sliding = sliding_layers(config, file, model.layers);
  if (window > 0 && !sliding.empty()) {
    RotaryConfig local;
    local.base = config.number("rope.freq_base_swa", config.number("rope.local.freq_base", 10000));
    local.dim = attention.rotary.dim;
    model.rules.push_back(
        rule_from({{"layers", sliding},
                   {"attention", {{"window", window}, {"rotary", mote::to_json(local)}}}},
                  config.file()));
  }
  return finished(config, std::move(model));
}

}  // namespace mote::checkpoint
