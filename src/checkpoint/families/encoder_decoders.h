// Encoder-decoders of Hugging Face's transformers, by model_type (specs/checkpoints 2).
#pragma once

#include "checkpoint/family.h"

namespace mote::checkpoint {

FamilyModel read_t5(FamilySource source);  // T5, and T5 v1.1 with gated units and a head of its own
FamilyModel read_switch(FamilySource source);  // Switch Transformers

}  // namespace mote::checkpoint
