#include "checkpoint/families/architectures.h"
#include "checkpoint/families/gguf_experts.h"

namespace mote::checkpoint {
namespace {

constexpr NameRule kNames[] = {
    {"blocks.#.feed_forward_norm.weight", "blk.#.post_attention_norm.weight"}};
constexpr UnitConfig kUnit = {1.702, 7, 1};  // as llama.cpp has it; files say nothing of it

}  // namespace

// gpt-oss: every second layer, the first among them, sees a window. Positions of YaRN are not rounded to
// whole pairs, as the model was made; llama.cpp rounds them.
FamilyModel read_gguf_gpt_oss(const GgufSource& file) {
  const GgufConfig config(file);
  ModelConfig model = read_gguf_decoder(config, file, 150000);
  Rotary& attention = *model.attention.get_if<Rotary>();
  attention.sinks = true;
  if (auto* yarn = attention.rotary.scaling.get_if<YarnScaling>()) yarn->truncate = false;

  set_gguf_mixture(config, file, model.feed_forward.get_if<Dense>()->width,
                   GgufGates::softmax_of_selected, false, model);
  Mixture& mixture = *model.feed_forward.get_if<Mixture>();
  mixture.bias = true;
  mixture.unit = kUnit;
  mixture.router.score = LinearScore{true, true};

  model.rules.push_back(rule_from(
      {{"layers", "::2"}, {"attention", {{"window", config.integer("attention.sliding_window")}}}},
      config.file()));
  return finished(config, std::move(model), kNames);
}

}  // namespace mote::checkpoint
