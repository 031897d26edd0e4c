// What kinds of reference fixtures there are, read from the files themselves: every folder or file
// found must be handled by a test or stand on the list of kinds still to be built
// (tests/fixture_kinds_to_come.txt).
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "tests/support/files.h"

namespace mote::test {

// A fixture's kind and where it lies: a folder, or the .json of a pair of files.
using Fixture = std::pair<std::string, fs::path>;

inline Json read_json(const fs::path& path) {
  return Json::parse(read_file(path));
}

inline std::string first_word(const std::string& text) {
  return text.substr(0, text.find_first_of(" ,"));
}

inline std::string folder_kind(const fs::path& folder) {
  if (fs::exists(folder / "noexp.pt")) return "quant:qmoe-folder";
  if (fs::exists(folder / "adapter_config.json"))
    return "adapter:" + read_json(folder / "adapter_config.json").value("peft_type", "unknown");
  if (fs::exists(folder / "config.json"))
    return "checkpoint:" + read_json(folder / "config.json").value("model_type", "unknown");
  bool cases = false;
  for (const auto& entry : fs::directory_iterator(folder))
    cases = cases || entry.path().filename().string().ends_with("cases.json");
  if (!cases) return "";
  return fs::exists(folder / "spiece.model") || fs::exists(folder / "tokenizer.model")
             ? "tokenizer:sentencepiece"
             : "tokenizer:byte-level-bpe";
}

inline std::string file_kind(const fs::path& path) {
  const Json json = read_json(path);
  if (json.contains("layer")) return "layer:" + first_word(json["layer"].get<std::string>());
  if (json.contains("dictionary")) return "quant:q16";
  if (json.contains("config") && json["config"].contains("damp")) return "quant:gptq";
  return "unknown:" + path.filename().string();
}

inline std::vector<Fixture> find_fixtures(const fs::path& root) {
  std::vector<Fixture> found;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (entry.is_directory()) {
      if (const std::string kind = folder_kind(entry.path()); !kind.empty()) {
        found.emplace_back(kind, entry.path());
      } else {
        for (Fixture& inner : find_fixtures(entry.path())) found.push_back(std::move(inner));
      }
    } else if (entry.path().extension() == ".json") {
      found.emplace_back(file_kind(entry.path()), entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

// The folder whose expected tensors hold for a checkpoint: the same weights in another layout name it
// by `same_as`.
inline fs::path expectations_of(const fs::path& folder) {
  const std::string same = read_json(folder / "expected.json").value("same_as", "");
  return same.empty() ? folder : (folder / same).lexically_normal();
}

// Those of one kind under MOTE_FIXTURES; none where it is missing.
inline std::vector<fs::path> fixtures_of_kind(const std::string& kind) {
  std::vector<fs::path> paths;
  if (!fs::is_directory(fixtures_folder())) return paths;
  for (const auto& [each, path] : find_fixtures(fixtures_folder()))
    if (each == kind) paths.push_back(path);
  return paths;
}

}  // namespace mote::test
