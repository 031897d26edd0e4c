#include "base/toml.h"

#include <toml++/toml.h>
#include <charconv>
#include <sstream>

#include "base/check.h"
#include "base/file.h"
#include "base/json_text.h"

namespace mote {
namespace {

Json to_json_value(const toml::node& node, const Place& place) {
  if (const auto* table = node.as_table()) {
    if (table->size() > kMostSettingsKeys)
      throw_config_error(place, concat("has ", table->size(), " keys, more than the ",
                                       kMostSettingsKeys, " that are read"));
    Json object = Json::object();
    for (const auto& [key, value] : *table)
      object[std::string(key.str())] = to_json_value(value, place.inside(std::string(key.str())));
    return object;
  }
  if (const auto* array = node.as_array()) {
    Json list = Json::array();
    for (const toml::node& item : *array) list.push_back(to_json_value(item, place));
    return list;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* truth = node.as_boolean()) return truth->get();
  throw_config_error(place, "is a date or time, which no field takes");
}

bool is_array_of_tables(const Json& value) {
  return value.is_array() && !value.empty() && value[0].is_object();
}

// TOML spells a list as JSON does, but the pairs of a table inside one with "=".
std::string inline_text(const Json& value) {
  if (!value.is_structured()) return json_text(value);
  std::string text;
  for (const auto& [key, item] : value.items())
    text += concat(text.empty() ? "" : ", ", value.is_object() ? json_text(Json(key)) + " = " : "",
                   inline_text(item));
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

void write_table(const Json& table, const std::string& prefix, std::string& text) {
  for (const auto& [key, value] : table.items())
    if (!value.is_object() && !is_array_of_tables(value))
      text += concat(key, " = ", inline_text(value), "\n");
  for (const auto& [key, value] : table.items()) {
    const std::string path = prefix.empty() ? key : concat(prefix, ".", key);
    if (value.is_object()) {
      text += "\n[" + path + "]\n";
      write_table(value, path, text);
    } else if (is_array_of_tables(value)) {
      for (const Json& item : value) {
        text += "\n[[" + path + "]]\n";
        write_table(item, path, text);
      }
    }
  }
}

// The value that `key` names inside `at`, which is made where it is not there yet.
Json& step_into(Json& at, const std::string& key, const std::string& assignment) {
  if (at.is_null()) at = Json::object();
  if (at.is_array()) {
    std::size_t index = at.size();
    std::from_chars(key.data(), key.data() + key.size(), index);
    if (index >= at.size() || std::to_string(index) != key)
      throw Error(ErrorKind::usage, concat("--set ", assignment, ": '", key, "' is none of the ",
                                           at.size(), " items 0, 1, ... of that list"))
          .at("--set");
    return at[index];
  }
  if (!at.is_object())
    throw Error(ErrorKind::usage, concat("--set ", assignment, ": '", key, "' is inside ",
                                         quoted(at), ", which is no table"))
        .at("--set");
  return at[key];
}

}  // namespace

Json parse_toml(const std::string& text, const std::string& file) {
  try {
    return to_json_value(toml::parse(text, file), Place{file, ""});
  } catch (const toml::parse_error& error) {
    std::ostringstream where;
    where << file << ":" << error.source().begin.line << ": " << error.description();
    throw Error(ErrorKind::config, where.str()).in(file);
  }
}

Json read_toml(const std::string& path) {
  return parse_toml(read_file(path, kMostSettingsBytes), path);
}

std::string to_toml(const Json& table) {
  std::string text;
  write_table(table, "", text);
  return text;
}

void set_override(Json& table, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    throw Error(ErrorKind::usage, "--set " + assignment + ": expected key=value").at("--set");
  const std::string value = assignment.substr(equals + 1);
  Json parsed;
  try {
    parsed = to_json_value(toml::parse("v = " + value), Place{"--set", ""})["v"];
  } catch (const toml::parse_error&) {
    parsed = value;
  }
  Json* at = &table;
  Json* inside = nullptr;
  std::string last;
  std::istringstream path(assignment.substr(0, equals));
  for (std::string key; std::getline(path, key, '.'); last = key) {
    inside = at;
    at = &step_into(*at, key, assignment);
  }
  if (last == "kind" && *at != parsed) {
    *inside = {{"kind", parsed}};
    return;
  }
  *at = parsed;
}

}  // namespace mote
