// What the mixtures of GGUF share.
#pragma once

#include "checkpoint/families/gguf_decoder.h"

namespace mote::checkpoint {

// Gated experts, softmax over all before the best are taken, in the layers that have a router
// (blk.N.ffn_gate_inp.weight); the others keep the dense layer of read_gguf_decoder().
//   expert_count, expert_used_count, expert_feed_forward_length (else `width`)
// `renormalise`: gates of a token are divided by their sum, which the architecture says; a file that says
// something else of gates is refused.
void set_gguf_mixture(const GgufConfig& config, const GgufSource& file, std::int64_t width,
                      bool renormalise, ModelConfig& model);

}  // namespace mote::checkpoint
