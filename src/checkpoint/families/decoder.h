// What the decoders of families/ share: Llama's blocks, and how tensors are called.
#pragma once

#include <span>

#include "checkpoint/family.h"
#include "checkpoint/hf_config.h"
#include "checkpoint/names.h"

namespace mote::checkpoint {

// Sizes, RMS norms, rotary attention and a gated dense layer, without biases.
//   hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
//   intermediate_size, hidden_act, rms_norm_eps, vocab_size, max_position_embeddings,
//   tie_word_embeddings (`tied` where absent), rope_* (`layer_type`: hf_config.h)
ModelConfig read_decoder(const HfConfig& config, double rope_base, bool tied = false,
                         const char* layer_type = "");

Rotary& attention_of(ModelConfig& model);
Dense& dense_of(ModelConfig& model);

// By transformers' name.
NeuronActivation activation_named(const std::string& name, const Place& place);
NeuronActivation read_activation(const HfConfig& config, const std::string& key,
                                 const std::string& otherwise);

// A window in the layers that layer_types calls sliding_attention; without layer_types in those that
// `slides` picks. No window: in none. `changes`: what else differs in the attention of these.
void read_windows(const HfConfig& config, std::int64_t window,
                  const std::function<bool(std::int64_t layer)>& slides, Json changes,
                  ModelConfig& model);

// Qwen's, 0 without use_sliding_window; of its dense models the layers from max_window_layers on.
std::int64_t qwen_window(const HfConfig& config);
void read_qwen_windows(const HfConfig& config, ModelConfig& model);

// Sizes and numbers lie in the ranges that our own config has, whose names messages use.
void check_ranges(const ModelConfig& model, const std::string& file);

// Checks what was read, and that the config has nothing else. A model that says it is tied, and whose
// files have another output matrix, is not.
FamilyModel finished(const HfConfig& config, ModelConfig model, std::span<const NameRule> names,
                     const FamilySource& source);

// Embedding, norms, attention and dense layers of Llama.
std::span<const NameRule> decoder_names();

}  // namespace mote::checkpoint
