// Decoders of Hugging Face's transformers, by model_type; one file each.
#pragma once

#include "checkpoint/family.h"

namespace mote::checkpoint {

FamilyModel read_llama(FamilySource source);    // Llama 1 to 3, SmolLM
FamilyModel read_mistral(FamilySource source);  // Llama with a window
FamilyModel read_qwen2(FamilySource source);    // biases of queries, keys and values
FamilyModel read_qwen3(FamilySource source);    // RMS norms of heads
FamilyModel read_gemma3(FamilySource source);   // windows, norms after, scaled embeddings

// Mixtures of gated experts.
FamilyModel read_mixtral(FamilySource source);      // gates renormalised
FamilyModel read_olmoe(FamilySource source);        // RMS norms of all queries, of all keys; clamps
FamilyModel read_phimoe(FamilySource source);       // layer norms, sparse mixer
FamilyModel read_qwen2_moe(FamilySource source);    // a shared expert with a gate
FamilyModel read_qwen3_moe(FamilySource source);    // RMS norms of heads
FamilyModel read_deepseek_v2(FamilySource source);  // latent attention, groups of experts
FamilyModel read_deepseek_v3(FamilySource source);  // the same, sigmoid gates, selection by a bias
FamilyModel read_granitemoe(FamilySource source);  // multipliers of embedding, residuals and logits
FamilyModel read_gpt_oss(FamilySource source);     // sinks, windows, biases, MXFP4

}  // namespace mote::checkpoint
