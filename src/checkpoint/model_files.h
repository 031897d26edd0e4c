// Which files of a folder are its model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"

namespace mote::checkpoint {

// The first of these that there is, an index first and then its files:
//   model.safetensors                   model.safetensors.index.json
//   pytorch_model.bin                   pytorch_model.bin.index.json
//   all other *.safetensors but adapters and a run's state
//   one *.gguf, or the parts of one
//   noexp.pt and exp00.pt, exp01.pt, ... of a folder in QMoE's layout (qmoe.h)
//   one *.bin, *.pt or *.pth, or the parts of one, but what trainers write beside a model
// Or `path` itself where it is a file. Refuses a folder that has none, that has several models, or
// where some of the files that an index or names like `x-00001-of-00003.bin` speak of are missing.
std::vector<fs::path> model_files(const fs::path& path);

bool is_index(const fs::path& file);

// A file called PREFIX-00002-of-00005.EXT.
struct Part {
  std::string prefix, extension;
  int number = 0, count = 0;
  std::string of(int other) const;  // the name of part `other`
};
std::optional<Part> part_of(const fs::path& file);

}  // namespace mote::checkpoint
