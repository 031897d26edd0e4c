// A family of checkpoints: how its config.json is read, and where each parameter lies in its files.
// One short file a family in families/; mote's own is one of them.
#pragma once

#include <functional>

#include "checkpoint/model_config.h"
#include "checkpoint/names.h"
#include "checkpoint/tensor_source.h"

namespace mote::checkpoint {

class GgufSource;

// What a family is told apart and read by.
struct FamilySource {
  Json config;       // config.json, without a quantization_config of our own
  std::string file;  // of messages
  // Opened when first asked for: layouts are told by the tensors' own names and shapes.
  std::function<std::shared_ptr<const TensorSource>()> tensors;
};

// Whether a quantization_config says that experts are MXFP4 (gpt-oss), which its family reads.
bool is_mxfp4(const Json& quantization_config);

struct FamilyModel {
  ModelConfig config;
  // Of a parameter by its name in mote.
  std::function<StoredTensor(const std::string& parameter)> stored;
  // Tensors that are there and mean nothing here, as a second copy of a tied matrix, or layers behind
  // the last one that predict further tokens.
  std::function<bool(const std::string& tensor)> ignored = [](const std::string&) { return false; };
};

struct Family {
  const char* model_type;  // of config.json
  // Every key of the config must be known.
  FamilyModel (*read)(FamilySource source);
};

// The model of a GGUF file, by its general.architecture, of which every key must be known. Throws an
// error that names it when no family has it.
FamilyModel read_gguf_model(const GgufSource& file);
// Whether one has it.
bool is_gguf_model(const GgufSource& file);

// By the config's model_type; null when no family has it.
const Family* find_family(const Json& config);
// The same. Throws an error that names it when no family has it.
const Family& family_of(const Json& config, const std::string& file);

}  // namespace mote::checkpoint
