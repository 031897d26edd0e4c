// What the architectures of GGUF share: Llama's blocks, and how tensors are called.
#pragma once

#include <span>

#include "checkpoint/family.h"
#include "checkpoint/gguf_config.h"
#include "checkpoint/names.h"

namespace mote::checkpoint {

// Sizes, RMS norms, rotary attention and a gated dense layer; biases where the file has them.
//   block_count, context_length, embedding_length, feed_forward_length, vocab_size (else the rows of
//   token_embd), attention.head_count, attention.head_count_kv, attention.key_length (else
//   embedding_length / head_count), attention.layer_norm_rms_epsilon, rope.* (gguf_config.h)
// The output layer is the embedding where the file has no output.weight.
ModelConfig read_gguf_decoder(const GgufConfig& config, const GgufSource& file, double rope_base);

// Checks what was read, and that the file says nothing else of the model.
// `own` names come before those of all architectures, and must outlive the model.
FamilyModel finished(const GgufConfig& config, ModelConfig model,
                     std::span<const NameRule> own = {});

// Of all architectures; experts are stacked: [E, out, in].
std::span<const NameRule> gguf_names();

}  // namespace mote::checkpoint
