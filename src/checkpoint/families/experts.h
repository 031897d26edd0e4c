// What the decoders with experts share: the mixture, and where experts lie in all layouts on disk.
#pragma once

#include "checkpoint/families/decoder.h"

namespace mote::checkpoint {

// Gated experts of the width `width_key`, softmax over all before the best are taken.
//   num_experts or num_local_experts or n_routed_experts, num_experts_per_tok,
//   router_aux_loss_coef: a loss of all layers together, in training
Mixture read_mixture(const HfConfig& config, const char* width_key, const ModelConfig& model);

// Layers that have the dense layer of read_decoder() instead of `mixture`, which the others get.
void set_mixture(const Mixture& mixture, const std::vector<std::int64_t>& dense_layers,
                 const std::string& file, ModelConfig& model);

// `own` names first, then those of decoders and of experts: a tensor for each expert
// (experts.N.gate_proj, or Mixtral's experts.N.w1), gate and up merged (experts.gate_up_proj, rows of
// the gate first) with down_proj, or three stacks (switch_mlp.gate_proj).
std::vector<NameRule> mixture_names(std::initializer_list<NameRule> own = {});
// Mixtral's for its experts and router.
std::vector<NameRule> mixtral_names();

}  // namespace mote::checkpoint
