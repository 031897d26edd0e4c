// The config.json of a model for a family of Hugging Face's transformers, as its reader (decoders.h) takes
// it.
#pragma once

#include "checkpoint/model_config.h"

namespace mote::checkpoint {

// Architecture, sizes, attention, positions and experts; `dtype` is transformers' word for the type of the
// weights. Fields that transformers 4.57 and 5 both know. What the family has no field for is left out:
// whoever writes a folder reads what it will say and compares (same_model.h).
Json hf_model_json(const std::string& model_type, const ModelConfig& config,
                   const std::string& dtype);

}  // namespace mote::checkpoint
