// Qwen 2 and 3, dense and with experts.
#include "checkpoint/families/architectures.h"
#include "checkpoint/families/gguf_experts.h"

namespace mote::checkpoint {
namespace {

constexpr double kBase = 1e4;  // of positions, where a file says none, as llama.cpp has it

ModelConfig read_qwen(const GgufConfig& config, const GgufSource& file, HeadNorm norm) {
  ModelConfig model = read_gguf_decoder(config, file, kBase);
  model.attention.get_if<Rotary>()->head_norm = norm;
  config.only("attention.sliding_window", 0);
  return model;
}

// `width` of experts is a key of its own; files without it are not read.
void set_mixture(const GgufConfig& config, const GgufSource& file, bool renormalise,
                 ModelConfig& model) {
  set_gguf_mixture(config, file, config.integer("expert_feed_forward_length"),
                   GgufGates::softmax_of_all, renormalise, model);
}

}  // namespace

FamilyModel read_gguf_qwen2(const GgufSource& file) {
  const GgufConfig config(file);
  return finished(config, read_qwen(config, file, HeadNorm::none));
}

FamilyModel read_gguf_qwen3(const GgufSource& file) {
  const GgufConfig config(file);
  return finished(config, read_qwen(config, file, HeadNorm::head));
}

FamilyModel read_gguf_qwen2moe(const GgufSource& file) {
  const GgufConfig config(file);
  ModelConfig model = read_qwen(config, file, HeadNorm::none);
  set_mixture(config, file, false, model);
  return finished(config, std::move(model));
}

FamilyModel read_gguf_qwen3moe(const GgufSource& file) {
  const GgufConfig config(file);
  ModelConfig model = read_qwen(config, file, HeadNorm::head);
  set_mixture(config, file, true, model);
  return finished(config, std::move(model));
}

}  // namespace mote::checkpoint
