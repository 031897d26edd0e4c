// The same model in another format: Hugging Face's families and GGUF's architectures that compute the same,
// and what their files say of it. A form is given only if its reader reads the same model from it
// (same_model.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "checkpoint/family.h"
#include "checkpoint/gguf_writer.h"

namespace mote::checkpoint {

// What a parameter is called in GGUF files of most architectures; empty: GGUF has no name for it.
std::string gguf_name(const std::string& parameter);

struct GgufForm {
  GgufKeyList keys;  // of the model; the file's own come after them
  std::vector<float>
      rotary_divisors;  // of kGgufRotaryDivisors, a tensor besides; none: there is none
  FamilyModel model;    // as the file says it
};
inline constexpr const char* kGgufRotaryDivisors = "rope_freqs.weight";
// `family`: a model_type, an architecture, or "mote", whose models may be any architecture's. `specs`: the
// tensors that the file will have. Throws an unsupported error that says what no architecture can
// say.
GgufForm gguf_form(const std::string& family, const ModelConfig& config,
                   std::span<const TensorSpec> specs, const fs::path& file);

struct HfForm {
  Json json;          // config.json
  FamilyModel model;  // as it reads
};
// Of a model of a GGUF architecture. Throws an unsupported error that says what no family can say.
HfForm hf_form(const std::string& architecture, const ModelConfig& config, const std::string& dtype,
               const fs::path& file);

}  // namespace mote::checkpoint
