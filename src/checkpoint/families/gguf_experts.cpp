#include "checkpoint/families/gguf_experts.h"

#include "checkpoint/families/experts.h"

namespace mote::checkpoint {
namespace {

void check_gates(const GgufConfig& config, GgufGates gates, bool renormalise) {
  config.only("expert_gating_func", static_cast<std::int64_t>(gates));
  if (config.flag("expert_weights_norm", renormalise) != renormalise)
    config.refuse("expert_weights_norm",
                  concat("is ", !renormalise ? "true" : "false", "; of ", config.architecture(),
                         " only ", renormalise ? "true" : "false", " is read"));
  if (const double scale = config.number("expert_weights_scale", 1); scale != 1 && scale != 0)
    config.refuse("expert_weights_scale",
                  concat("is ", scale, "; of ", config.architecture(), " only 1 is read"));
}

}  // namespace

void set_gguf_mixture(const GgufConfig& config, const GgufSource& file, std::int64_t width,
                      GgufGates gates, bool renormalise, ModelConfig& model) {
  check_gates(config, gates, renormalise);
  Mixture mixture;
  mixture.experts = config.integer("expert_count");
  mixture.expert_width = config.integer("expert_feed_forward_length", width);
  mixture.activation = model.feed_forward.get_if<Dense>()->activation;
  mixture.gated = true;
  mixture.router.experts_per_token = config.integer("expert_used_count");
  mixture.router.gate =
      gates == GgufGates::softmax_of_all ? Gate::softmax_before : Gate::softmax_after;
  mixture.router.renormalise = renormalise;
  if (config.has("expert_shared_feed_forward_length"))
    mixture.shared = {config.integer("expert_shared_feed_forward_length"), true};

  std::vector<std::int64_t> dense_layers;
  for (std::int64_t i = 0; i < model.layers; ++i)
    if (!file.has(concat("blk.", i, ".ffn_gate_inp.weight"))) dense_layers.push_back(i);
  if (static_cast<std::int64_t>(dense_layers.size()) == model.layers)
    config.refuse(
        "expert_count",
        concat("is ", mixture.experts, ", and no layer has a router (blk.N.ffn_gate_inp.weight)"));
  set_mixture(mixture, dense_layers, config.file(), model);
}

}  // namespace mote::checkpoint
