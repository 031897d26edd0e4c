#include <algorithm>

#include "checkpoint/families/decoders.h"
#include "checkpoint/families/experts.h"

namespace mote::checkpoint {
namespace {

// Layers of mlp_only_layers, and those whose number, from 1, decoder_sparse_step does not divide.
std::vector<std::int64_t> dense_layers(const HfConfig& config, std::int64_t layers) {
  std::vector<std::int64_t> listed;
  if (config.has("mlp_only_layers"))
    from_json(config.at("mlp_only_layers"), listed, {config.file(), "mlp_only_layers"});
  const std::int64_t step = config.integer("decoder_sparse_step", 1);
  if (step < 1) throw_config_error({config.file(), "decoder_sparse_step"}, concat("is ", step));
  std::vector<std::int64_t> dense;
  for (std::int64_t i = 0; i < layers; ++i)
    if ((i + 1) % step != 0 || std::find(listed.begin(), listed.end(), i) != listed.end())
      dense.push_back(i);
  return dense;
}

Mixture read_qwen_mixture(const HfConfig& config, const ModelConfig& model) {
  Mixture mixture = read_mixture(config, "moe_intermediate_size", model);
  mixture.router.renormalise = config.flag("norm_topk_prob", false);
  return mixture;
}

}  // namespace

FamilyModel read_qwen2_moe(FamilySource source) {
  static const std::vector<NameRule> kNames = mixture_names();
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  attention_of(model).bias = config.flag("qkv_bias", true);
  // Unlike its dense relatives: every other layer of the first ones.
  const std::int64_t below = config.integer("max_window_layers", 28);
  read_windows(
      config, qwen_window(config),
      [below](std::int64_t layer) { return layer % 2 == 0 && layer < below; }, Json::object(),
      model);
  Mixture mixture = read_qwen_mixture(config, model);
  mixture.shared = {config.integer("shared_expert_intermediate_size"), true};
  set_mixture(mixture, dense_layers(config, model.layers), config.file(), model);
  return finished(config, std::move(model), kNames, source);
}

FamilyModel read_qwen3_moe(FamilySource source) {
  static const std::vector<NameRule> kNames = mixture_names();
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  attention_of(model).bias = attention_of(model).output_bias = config.flag("attention_bias", false);
  attention_of(model).head_norm = HeadNorm::head;
  config.ignore({"max_window_layers"});
  read_windows(
      config, qwen_window(config), [](std::int64_t) { return true; }, Json::object(), model);
  set_mixture(read_qwen_mixture(config, model), dense_layers(config, model.layers), config.file(),
              model);
  return finished(config, std::move(model), kNames, source);
}

}  // namespace mote::checkpoint
