// Models on disk: a folder with config.json, model.safetensors, tokenizer.json and
// generation_config.json, dense or compressed alike.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "checkpoint/packed.h"
#include "checkpoint/safetensors.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace mote::model {

namespace fs = std::filesystem;

// Writes model.safetensors and config.json into `folder`, each under a temporary name first. Packed
// weights are written in parts; `quantization` describes them, its list of tensors is filled in
// here.
void save_model(Model& model, const fs::path& folder,
                std::optional<checkpoint::Quantization> quantization = std::nullopt);

// Writes tokenizer.json, and generation_config.json with the tokens that begin and end a text.
void save_tokenizer(const text::Tokenizer& tokenizer, const fs::path& folder);

// The folder that a command line's MODEL names: itself, or the one that a model.safetensors lies
// in. Throws when there is neither, saying what is read.
fs::path find_model(const std::string& name);

// config.json: the model, and what is packed in a compressed one.
struct SavedConfig {
  ModelConfig model;
  std::optional<checkpoint::Quantization> quantization;
};
SavedConfig load_config(const fs::path& folder);

// A model whose tensors lie in the mapped file: nothing is read before it is used, nothing is
// copied, nothing may be written. Packed parts are checked here, once.
std::unique_ptr<Model> load_model(const fs::path& folder, const Executor& executor);

// Fills the tensors of `model` with copies from a file, as trainable leaves.
void load_parameters(Model& model, const checkpoint::SafetensorsFile& file,
                     const std::string& prefix);

// A float32 tensor's bytes and shape, for writing.
std::span<const std::byte> bytes_of(const Tensor& contiguous);
std::vector<std::int64_t> shape_of(const Tensor& x);

// A tensor over memory that `owner` keeps alive.
Tensor tensor_over(const checkpoint::Tensor& stored, std::shared_ptr<const void> owner,
                   const std::string& name, const std::string& file);

}  // namespace mote::model
