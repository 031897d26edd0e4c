#include "base/json_text.h"

#include <array>
#include <unordered_set>

#include "base/file.h"

namespace mote {
namespace {

template <class AnyJson>
AnyJson parse_object(const std::string& text, const std::string& path, std::size_t most_keys) {
  constexpr int kDeepest = 64;
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::file, concat(path, ": ", what)).in(path);
  };
  std::array<std::unordered_set<std::string>, kDeepest + 2> keys;  // of the object being read
  const auto check = [&](int depth, auto event, const AnyJson& parsed) {
    if (depth > kDeepest) refuse(concat("is nested deeper than ", kDeepest, " levels"));
    const auto level = static_cast<std::size_t>(depth);
    if (event == AnyJson::parse_event_t::object_start) keys[level + 1] = {};
    if (event != AnyJson::parse_event_t::key) return true;
    const auto key = parsed.template get<std::string>();
    if (!keys[level].insert(key).second) refuse(concat("has the key '", key, "' twice"));
    if (keys[level].size() > most_keys)
      refuse(concat("has an object of more than ", most_keys,
                    " keys; is it the file that was meant?"));
    return true;
  };
  AnyJson json;
  try {
    json = AnyJson::parse(text, check);
  } catch (const nlohmann::detail::exception& error) {
    refuse(concat(json_problem(error), "; put the file back or write it anew"));
  }
  if (!json.is_object()) refuse("is not a JSON object");
  return json;
}

}  // namespace

std::string json_problem(const nlohmann::detail::exception& error) {
  std::string text = error.what();
  for (const std::string_view name : {"] ", "parse error at "})  // "[json.exception.NAME.NUMBER] "
    if (const std::size_t at = text.find(name); at != std::string::npos)
      text.erase(0, at + name.size());
  return "is not JSON: " + text;
}

Json read_json_object(const std::string& path) {
  return parse_object<Json>(read_file(path, kMostSettingsBytes), path, kMostSettingsKeys);
}

nlohmann::json read_json_index(const std::string& path) {
  return parse_json_index(read_file(path, 100'000'000), path);
}

nlohmann::json parse_json_index(const std::string& text, const std::string& path) {
  return parse_object<nlohmann::json>(text, path, 1'000'000);
}

}  // namespace mote
