#include "checkpoint/shard_index.h"

#include <algorithm>

#include "base/file.h"
#include "base/json_text.h"
#include "checkpoint/refuse.h"

namespace mote::checkpoint {
namespace {

bool names_a_file(const std::string& name) {
  const auto is_control = [](unsigned char c) { return c < ' '; };
  return !name.empty() && name != "." && name != ".." &&
         name == fs::path(name).filename().string() &&
         std::none_of(name.begin(), name.end(), is_control);
}

}  // namespace

std::map<std::string, std::string> parse_shard_index(const std::string& text,
                                                     const std::string& path) {
  const nlohmann::json json = parse_json_index(text, path);
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty())
    refuse_file(path, "weight_map", "'weight_map' is missing or names no tensor");
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) refuse_file(path, tensor, concat("'", tensor, "' names no file"));
    const auto name = file.get<std::string>();
    if (!names_a_file(name))
      refuse_file(path, tensor,
                  concat("'", tensor, "' is in '", name, "', which is no file of this folder"));
    files[tensor] = name;
  }
  return files;
}

}  // namespace mote::checkpoint
