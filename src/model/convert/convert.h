// A model in another format: whatever opens (model/saved.h) as a folder of safetensors or as a GGUF file.
// Tensors are read, changed and written one after another; no more than a matrix is in memory.
//
//   safetensors  a folder: config.json, model.safetensors or shards, tokenizer and chat template. Of a
//                folder of Hugging Face the same family, with its names; of a GGUF file the family that
//                computes the same (checkpoint/counterpart.h); else mote's own
//   gguf         one file, of the architecture that computes the same; what GGUF has no name for is refused
//
// Elements: of `dtype`, or as they are. Blocks and packed weights that stay so nowhere else become BF16
// where that is exact, else F32. In GGUF vectors, biases and routers are F32, blocks stay as they are without
// `dtype`, and TQ1_0 and TQ2_0 are for matrices that they hold exactly: others stay as they are, and
// ternary weights on another grid are refused.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/parallel.h"
#include "checkpoint/tensor.h"

namespace mote::model {

enum class Format { safetensors, gguf };

struct ConvertOptions {
  Format to = Format::safetensors;
  // F32, BF16, F16; in GGUF Q8_0, TQ1_0, TQ2_0 too. None: as they are.
  std::optional<checkpoint::Dtype> dtype;
};

struct ConvertReport {
  std::int64_t tensors = 0;
  std::uint64_t bytes = 0;  // of the new folder or file
};

// `model`: as find_model() gives it. `out` must not be there (or be an empty folder); it appears whole or
// not at all.
ConvertReport convert(const std::filesystem::path& model, const std::filesystem::path& out,
                      const ConvertOptions& options, const Executor& executor);

}  // namespace mote::model
