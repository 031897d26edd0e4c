#include "checkpoint/model_files.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>
#include <string>

#include "checkpoint/qmoe.h"
#include "checkpoint/refuse.h"
#include "checkpoint/shard_index.h"

namespace mote::checkpoint {
namespace {

constexpr const char* kIndex = ".index.json";
constexpr std::uint64_t kMostIndexBytes = 100'000'000;
constexpr const char* kSingles[] = {"model.safetensors", "pytorch_model.bin"};
// What adapters, runs and trainers keep beside a model.
constexpr const char* kOthers[] = {"adapter_model", "training_state", "training_args", "optimizer",
                                   "scheduler",     "scaler",         "rng_state"};

[[noreturn]] void refuse_missing(const fs::path& file, const std::string& who) {
  refuse_file(file.string(), "",
              concat("is missing, and ", who, " names it; the model is not all here: download ",
                     file.filename().string()));
}

std::vector<fs::path> files_of_index(const fs::path& index) {
  std::set<std::string> names;
  for (const auto& [unused, file] :
       parse_shard_index(read_file(index, kMostIndexBytes), index.string()))
    names.insert(file);
  std::vector<fs::path> files = {index};
  for (const std::string& name : names) {
    files.push_back(index.parent_path() / name);
    if (!fs::exists(files.back())) refuse_missing(files.back(), index.filename().string());
  }
  return files;
}

std::vector<fs::path> files_with(const fs::path& folder, const std::set<std::string>& extensions) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const auto begins = [&](const char* other) { return name.starts_with(other); };
    if (entry.is_regular_file() && extensions.contains(entry.path().extension().string()) &&
        !name.starts_with('.') && std::none_of(std::begin(kOthers), std::end(kOthers), begins))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void check_parts_are_all_here(const std::vector<fs::path>& files) {
  for (const fs::path& file : files)
    if (const auto part = part_of(file))
      for (int i = 1; i <= part->count; ++i)
        if (const fs::path other = file.parent_path() / part->of(i); !fs::exists(other))
          refuse_missing(other, file.filename().string());
}

// One file, or all the parts of one.
void check_is_one_model(const fs::path& folder, const std::vector<fs::path>& files) {
  const auto whole = [](const fs::path& file) {
    const auto part = part_of(file);
    return part ? part->of(1) : file.filename().string();
  };
  for (const fs::path& file : files)
    if (whole(file) != whole(files.front()))
      refuse_file(folder.string(), "",
                  concat("has ", files.front().filename().string(), " and ",
                         file.filename().string(), "; name the file that is meant"));
}

// A cache of downloads has links to what is still to come.
void check_links(const fs::path& folder) {
  const std::set<std::string> needed = {".safetensors", ".gguf", ".bin", ".pt", ".pth", ".json"};
  for (const auto& entry : fs::directory_iterator(folder))
    if (needed.contains(entry.path().extension().string()) && entry.is_symlink() &&
        !fs::exists(entry.path()))
      refuse_file(entry.path().string(), "",
                  concat("is a link to ", fs::read_symlink(entry.path()).string(),
                         ", which is missing; the model is not all here: download ",
                         entry.path().filename().string()));
}

// Experts of sparse block 0, of block 1, ...; which of them there must be, the config says.
std::vector<fs::path> files_of_qmoe(const fs::path& folder) {
  std::vector<fs::path> files = {folder / kQmoeMain};
  for (int block = 0;; ++block) {
    char name[32];
    std::snprintf(name, sizeof name, "exp%02d.pt", block);
    if (!fs::exists(folder / name)) return files;
    files.push_back(folder / name);
  }
}

std::vector<fs::path> files_of_folder(const fs::path& folder) {
  check_links(folder);
  for (const char* single : kSingles) {
    if (fs::exists(folder / single)) return {folder / single};
    if (const fs::path index = folder / (std::string(single) + kIndex); fs::exists(index))
      return files_of_index(index);
  }
  if (fs::exists(folder / kQmoeMain)) return files_of_qmoe(folder);
  const std::set<std::string> kinds[] = {{".safetensors"}, {".gguf"}, {".bin", ".pt", ".pth"}};
  for (const auto& extensions : kinds) {
    const std::vector<fs::path> files = files_with(folder, extensions);
    if (files.empty()) continue;
    check_parts_are_all_here(files);
    if (!extensions.contains(".safetensors")) check_is_one_model(folder, files);
    return files;
  }
  refuse_file(folder.string(), "model.safetensors",
              concat("has no file of tensors (model.safetensors, pytorch_model.bin, their indexes, "
                     "*.safetensors, *.gguf, *.bin, *.pt)",
                     fs::exists(folder / "config.json")
                         ? ", only a config.json; the model is not all here: download the rest"
                         : "; is it the folder of a model?"));
}

}  // namespace

std::optional<Part> part_of(const fs::path& file) {
  const std::string stem = file.stem().string();
  constexpr std::size_t kSuffix = 15;  // "-00002-of-00005"
  if (stem.size() < kSuffix) return std::nullopt;
  const std::string suffix = stem.substr(stem.size() - kSuffix);
  Part part{stem.substr(0, stem.size() - kSuffix), file.extension().string()};
  if (std::sscanf(suffix.c_str(), "-%5d-of-%5d", &part.number, &part.count) != 2 ||
      part.of(part.number) != file.filename().string())
    return std::nullopt;
  return part;
}

std::string Part::of(int other) const {
  char text[32];
  std::snprintf(text, sizeof text, "-%05d-of-%05d", other, count);
  return prefix + text + extension;
}

bool is_index(const fs::path& file) {
  return file.filename().string().ends_with(kIndex);
}

std::vector<fs::path> model_files(const fs::path& path) {
  if (fs::is_directory(path)) return files_of_folder(path);
  if (is_index(path)) return files_of_index(path);
  return {path};
}

}  // namespace mote::checkpoint
