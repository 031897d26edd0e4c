#include "checkpoint/tensor_source.h"

#include "base/check.h"
#include "base/json_text.h"
#include "base/nearest.h"
#include "checkpoint/safetensors.h"

namespace mote::checkpoint {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

[[noreturn]] void refuse(const fs::path& path, const std::string& field, const std::string& what) {
  throw Error(ErrorKind::file, concat(path.string(), ": ", what)).in(path.string()).at(field);
}

// "weight_map": {tensor: file} of an index, the files by name.
std::map<std::string, std::set<std::string>> tensors_by_shard(const fs::path& index) {
  const nlohmann::json json = read_json_index(index.string());
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty())
    refuse(index, "weight_map", "'weight_map' is missing or names no tensor");
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) refuse(index, tensor, concat("'", tensor, "' names no file"));
    const auto name = file.get<std::string>();
    if (name.empty() || name != fs::path(name).filename().string() || name == "." || name == "..")
      refuse(index, tensor,
             concat("'", tensor, "' is in '", name, "', which is no file of this folder"));
    shards[name].insert(tensor);
  }
  return shards;
}

class Shards final : public TensorSource {
 public:
  explicit Shards(const fs::path& index) : path_(index) {
    for (const auto& [name, wanted] : tensors_by_shard(index)) {
      files_.push_back(std::make_unique<SafetensorsFile>(index.parent_path() / name));
      const SafetensorsFile& file = *files_.back();
      for (const std::string& tensor : wanted)
        if (!file.has(tensor))
          refuse(index, tensor,
                 concat("'", tensor, "' is said to be in ", name, ", which has no such tensor"));
      for (const auto& [tensor, value] : file.tensors()) {
        if (!wanted.contains(tensor))
          refuse(index, tensor,
                 concat(name, " holds '", tensor, "', which the index does not place there"));
        tensors_[tensor] = value;
      }
    }
  }
  const std::map<std::string, Tensor>& tensors() const override { return tensors_; }
  const fs::path& path() const override { return path_; }
  std::string format() const override { return "safetensors"; }

 private:
  const fs::path path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace

const Tensor& TensorSource::at(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found != tensors().end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [each, unused] : tensors()) known.push_back(each);
  throw Error(ErrorKind::file, concat(path().string(), ": tensor '", name, "' is not in the file",
                                      did_you_mean(name, known)))
      .in(path().string())
      .at(name);
}

void UsedTensors::check_all_used() const {
  std::vector<std::string> left;
  for (const auto& [name, unused] : tensors())
    if (!used_.contains(name)) left.push_back(name);
  if (left.empty()) return;
  throw Error(
      ErrorKind::file,
      concat(path().string(), ": tensor '", left.front(), "'",
             left.size() > 1 ? concat(" and ", left.size() - 1, " more belong") : " belongs",
             " to nothing that config.json describes; the two files do not belong "
             "together"))
      .in(path().string())
      .at(left.front());
}

std::shared_ptr<const TensorSource> open_tensors(const fs::path& folder) {
  if (!fs::exists(folder / kSingle) && fs::exists(folder / kIndex))
    return std::make_shared<const Shards>(folder / kIndex);
  return std::make_shared<const SafetensorsFile>(folder / kSingle);
}

std::vector<fs::path> model_files(const fs::path& folder) {
  if (fs::exists(folder / kSingle) || !fs::exists(folder / kIndex)) return {folder / kSingle};
  std::vector<fs::path> files = {folder / kIndex};
  for (const auto& [name, unused] : tensors_by_shard(folder / kIndex))
    files.push_back(folder / name);
  return files;
}

}  // namespace mote::checkpoint
