// Decoders of Hugging Face's transformers, by model_type; one file each.
#pragma once

#include "checkpoint/family.h"

namespace mote::checkpoint {

FamilyModel read_llama(FamilySource source);    // Llama 1 to 3, SmolLM
FamilyModel read_mistral(FamilySource source);  // Llama with a window
FamilyModel read_qwen2(FamilySource source);    // biases of queries, keys and values
FamilyModel read_qwen3(FamilySource source);    // RMS norms of heads
FamilyModel read_gemma3(FamilySource source);   // windows, norms after, scaled embeddings

}  // namespace mote::checkpoint
