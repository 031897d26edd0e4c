// What T5 and Switch share: two stacks with buckets of distances, RMS norms, no biases.
#pragma once

#include <span>

#include "checkpoint/family.h"
#include "checkpoint/hf_config.h"

namespace mote::checkpoint {

// Sizes of both stacks and a dense layer of d_ff.
//   vocab_size, d_model, d_kv, d_ff, num_heads, num_layers, num_decoder_layers (num_layers where absent),
//   n_positions, relative_attention_num_buckets, relative_attention_max_distance, dropout_rate,
//   layer_norm_epsilon
ModelConfig read_stacks(const HfConfig& config);

// Checks what was read, and that the config has nothing else, and finds out whose matrix the output layer
// has: its own where the files have one that differs from the embedding, whatever
// tie_word_embeddings says. What is multiplied is scaled by d_model^-1/2 where scale_decoder_outputs says
// so, else unless tie_word_embeddings is false.
FamilyModel finished_stacks(const HfConfig& config, ModelConfig model,
                            std::span<const NameRule> feed_forward, const FamilySource& source);

}  // namespace mote::checkpoint
