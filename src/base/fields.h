// A config's single field list, and everything derived from it: reading, writing, checking, help.
//
// A component's config is a plain struct with defaults and one list:
//
//   struct RouterConfig {
//     std::int64_t experts = 16;
//     Gate gate = Gate::sigmoid;
//     static auto fields() {
//       return std::tuple{Field{&RouterConfig::experts, "experts", "experts per layer"},
//                         Field{&RouterConfig::gate, "gate", "how a score becomes a weight"}};
//     }
//   };
//   template <> struct EnumNames<Gate> { static constexpr std::array names{"sigmoid", "softmax"};
//   };
//
// A field is a bool, an integer, a double, a string, a vector of these, an enum with EnumNames
// (values 0, 1, ... in the order of the names) or another config. Unknown keys, wrong types and
// values outside a field's range are config errors that name the file, the dotted key, what was
// found and what is allowed.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/nearest.h"

namespace mote {

using Json = nlohmann::ordered_json;

template <class Config, class T>
struct Field {
  T Config::*member;
  const char* name;
  const char* help;
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};
template <class Config, class T>
Field(T Config::*, const char*, const char*) -> Field<Config, T>;
template <class Config, class T>
Field(T Config::*, const char*, const char*, double) -> Field<Config, T>;
template <class Config, class T>
Field(T Config::*, const char*, const char*, double, double) -> Field<Config, T>;

template <class Enum>
struct EnumNames;

template <class T>
concept IsConfig = requires {
  T::fields();
};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

// Where a value stands, for error messages.
struct Place {
  std::string file;
  std::string key;  // dotted; empty at the top
  Place inside(const std::string& name) const {
    return {file, key.empty() ? name : key + "." + name};
  }
};

// A value as messages quote it: at most 40 bytes, and only the kind of an object or array, which
// may be nested deeper than a recursion can follow.
std::string quoted(const Json& value);

[[noreturn]] void throw_config_error(const Place& place, const std::string& what);
[[noreturn]] void throw_wrong_type(const Place& place, const char* wanted, const Json& found);

template <class Enum>
const char* enum_name(Enum value) {
  return EnumNames<Enum>::names[static_cast<std::size_t>(value)];
}

template <class Enum>
Enum enum_value(const std::string& text, const Place& place) {
  std::vector<std::string> known(EnumNames<Enum>::names.begin(), EnumNames<Enum>::names.end());
  for (std::size_t i = 0; i < known.size(); ++i)
    if (known[i] == text) return static_cast<Enum>(i);
  std::string allowed;
  for (const std::string& k : known) allowed += (allowed.empty() ? "" : ", ") + k;
  throw_config_error(place, "is '" + text + "', not one of " + allowed);
}

template <class T>
Json to_json(const T& value) {
  if constexpr (IsConfig<T>) {
    Json object = Json::object();
    std::apply(
        [&](const auto&... field) { ((object[field.name] = to_json(value.*field.member)), ...); },
        T::fields());
    return object;
  } else if constexpr (IsVector<T>::value) {
    Json array = Json::array();
    for (const auto& item : value) array.push_back(to_json(item));
    return array;
  } else if constexpr (std::is_enum_v<T>) {
    return enum_name(value);
  } else {
    return value;
  }
}

template <class T>
void from_json(const Json& json, T& value, const Place& place);

// Sets the fields that `json` names and leaves the others as they are.
template <class Config>
void fields_from_json(const Json& json, Config& config, const Place& place) {
  if (!json.is_object()) throw_wrong_type(place, "a table", json);
  std::vector<std::string> known;
  std::apply([&](const auto&... field) { (known.push_back(field.name), ...); }, Config::fields());
  for (const auto& [key, unused] : json.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw_config_error(place.inside(key), "is not a known key" + did_you_mean(key, known));
  const auto read = [&](const auto& field) {
    const auto found = json.find(field.name);
    if (found == json.end()) return;
    auto& member = config.*field.member;
    from_json(*found, member, place.inside(field.name));
    if constexpr (std::is_arithmetic_v<std::remove_reference_t<decltype(member)>>) {
      const double number = static_cast<double>(member);
      if (!(number >= field.least && number <= field.most))
        throw_config_error(place.inside(field.name),
                           concat("is ", number, ", outside ", field.least, " to ", field.most));
    }
  };
  std::apply([&](const auto&... field) { (read(field), ...); }, Config::fields());
}

template <class T>
void from_json(const Json& json, T& value, const Place& place) {
  if constexpr (IsConfig<T>) {
    fields_from_json(json, value, place);
  } else if constexpr (IsVector<T>::value) {
    if (!json.is_array()) throw_wrong_type(place, "a list", json);
    value.clear();
    for (std::size_t i = 0; i < json.size(); ++i) {
      value.emplace_back();
      from_json(json[i], value.back(), place.inside(std::to_string(i)));
    }
  } else if constexpr (std::is_enum_v<T>) {
    if (!json.is_string()) throw_wrong_type(place, "a name", json);
    value = enum_value<T>(json.template get<std::string>(), place);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) throw_wrong_type(place, "true or false", json);
    value = json.template get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    if (!json.is_number_integer()) throw_wrong_type(place, "a whole number", json);
    value = json.template get<T>();
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!json.is_number()) throw_wrong_type(place, "a number", json);
    value = json.template get<T>();
    if (!std::isfinite(value)) throw_config_error(place, "is not finite");
  } else {
    if (!json.is_string()) throw_wrong_type(place, "text", json);
    value = json.template get<std::string>();
  }
}

// Refuses a table that leaves out a field: for files that mote wrote itself, where a missing key is
// damage and not a wish for the default.
template <class Config>
void check_complete(const Json& json, const Place& place) {
  const auto check = [&](const auto& field) {
    const auto found = json.find(field.name);
    if (found == json.end()) throw_config_error(place.inside(field.name), "is missing");
    using T = std::remove_cvref_t<decltype(std::declval<Config>().*field.member)>;
    if constexpr (IsConfig<T>) check_complete<T>(*found, place.inside(field.name));
    if constexpr (IsVector<T>::value) {
      using Item = typename T::value_type;
      if constexpr (IsConfig<Item>)
        for (std::size_t i = 0; i < found->size(); ++i)
          check_complete<Item>((*found)[i], place.inside(concat(field.name, ".", i)));
    }
  };
  std::apply([&](const auto&... field) { (check(field), ...); }, Config::fields());
}

template <class Config>
Config read_config(const Json& json, const std::string& file) {
  Config config;
  fields_from_json(json, config, Place{file, ""});
  return config;
}

// "key  type default  help", one line per field, nested tables dotted.
template <class Config>
void describe_fields(const Config& defaults, const std::string& prefix, std::string& text) {
  const auto line = [&](const auto& field) {
    const auto& member = defaults.*field.member;
    using T = std::remove_cvref_t<decltype(member)>;
    if constexpr (IsConfig<T>) {
      describe_fields(member, prefix + field.name + ".", text);
    } else {
      text += prefix + field.name + " = " + to_json(member).dump() + "  # " + field.help;
      if constexpr (std::is_enum_v<T>) {
        text += ":";
        for (const char* n : EnumNames<T>::names) text += std::string(" ") + n;
      }
      text += "\n";
    }
  };
  std::apply([&](const auto&... field) { (line(field), ...); }, Config::fields());
}

}  // namespace mote
