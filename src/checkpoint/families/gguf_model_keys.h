// The keys of a model for an architecture of GGUF, as its reader (architectures.h) takes them.
#pragma once

#include "checkpoint/gguf_writer.h"
#include "checkpoint/model_config.h"

namespace mote::checkpoint {

// general.architecture and the keys of sizes, attention, positions and experts. What the architecture has
// no key for is left out: whoever writes a file reads what it will say and compares (same_model.h).
GgufKeyList gguf_model_keys(const std::string& architecture, const ModelConfig& config);

// Llama 3's scaling as the divisors of frequencies that its files have in a tensor of their own; empty where
// the scaling is another.
std::vector<float> gguf_rotary_divisors(const ModelConfig& config);

}  // namespace mote::checkpoint
