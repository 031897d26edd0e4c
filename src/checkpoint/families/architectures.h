// Decoders in GGUF, by general.architecture; one file each.
#pragma once

#include "checkpoint/family.h"
#include "checkpoint/gguf.h"

namespace mote::checkpoint {

FamilyModel read_gguf_llama(const GgufSource& file);   // Llama 1 to 3, SmolLM, Mistral, Mixtral
FamilyModel read_gguf_gemma3(const GgufSource& file);  // windows, norms after, scaled embeddings
FamilyModel read_gguf_qwen2(const GgufSource& file);   // biases of queries, keys and values
FamilyModel read_gguf_qwen3(const GgufSource& file);   // RMS norms of heads

// Mixtures of gated experts, which Mixtral's is too.
FamilyModel read_gguf_olmoe(const GgufSource& file);      // RMS norms of all queries, of all keys
FamilyModel read_gguf_qwen2moe(const GgufSource& file);   // a shared expert with a gate
FamilyModel read_gguf_qwen3moe(const GgufSource& file);   // RMS norms of heads
FamilyModel read_gguf_deepseek2(const GgufSource& file);  // latent attention, groups of experts
FamilyModel read_gguf_gpt_oss(const GgufSource& file);    // sinks, windows, biases, MXFP4

}  // namespace mote::checkpoint
