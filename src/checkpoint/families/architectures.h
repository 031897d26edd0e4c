// Decoders in GGUF, by general.architecture; one file each.
#pragma once

#include "checkpoint/family.h"
#include "checkpoint/gguf.h"

namespace mote::checkpoint {

FamilyModel read_gguf_llama(const GgufFile& file);   // Llama 1 to 3, SmolLM, Mistral
FamilyModel read_gguf_gemma3(const GgufFile& file);  // windows, norms after, scaled embeddings

}  // namespace mote::checkpoint
