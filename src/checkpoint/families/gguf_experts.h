// What the mixtures of GGUF share.
#pragma once

#include "checkpoint/families/gguf_decoder.h"

namespace mote::checkpoint {

// What gates are made of, by their number in expert_gating_func: softmax over all experts, or over those
// that a token is sent to.
enum class GgufGates { softmax_of_all = 1, softmax_of_selected = 3 };

// Gated experts in the layers that have a router
// (blk.N.ffn_gate_inp.weight); the others keep the dense layer of read_gguf_decoder().
//   expert_count, expert_used_count, expert_feed_forward_length (else `width`)
// `gates`, and by `renormalise` whether those of a token are divided by their sum, are what the
// architecture says; a file that says
// something else of gates is refused.
void set_gguf_mixture(const GgufConfig& config, const GgufSource& file, std::int64_t width,
                      GgufGates gates, bool renormalise, ModelConfig& model);

}  // namespace mote::checkpoint
