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
// A field is one of
//   bool, integer, double, string
//   an enum with EnumNames (values 0, 1, ... in the order of the names)
//   another config: a table
//   OneOf<Kinds...> (base/one_of.h): a table whose key "kind" says which config it is
//   std::optional of any of these: absent when it has no value
//   std::vector of any of these: a list, or an array of tables
//   a class with read(json, place) and write(): whatever it reads and writes
// Unknown keys, wrong types and values outside a field's range are config errors that name the
// file, the dotted key, what was found and what is allowed.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/nearest.h"
#include "base/one_of.h"

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
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

// Where a value stands, for error messages.
struct Place {
  std::string file;
  std::string key;  // dotted; empty at the top
  Place inside(const std::string& name) const {
    return {file, key.empty() ? name : key + "." + name};
  }
};

// A field's own class of values.
template <class T>
concept ReadsItself = requires(T value, const T& constant, const Json& json, const Place& place) {
  value.read(json, place);
  { constant.write() } -> std::same_as<Json>;
};

// A value as messages quote it: at most 40 bytes, and only the kind of an object or array, which
// may be nested deeper than a recursion can follow.
std::string quoted(const Json& value);

// "1 to 9", "1 or more", "up to 9"; empty where there are no limits.
std::string range_text(double least, double most);

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
Json to_json(const T& value);

template <class Config>
void fields_to_json(const Config& config, Json& object) {
  const auto write = [&](const auto& field) {
    const auto& member = config.*field.member;
    if constexpr (IsOptional<std::remove_cvref_t<decltype(member)>>::value) {
      if (member) object[field.name] = to_json(*member);
    } else {
      object[field.name] = to_json(member);
    }
  };
  std::apply([&](const auto&... field) { (write(field), ...); }, Config::fields());
}

template <class T>
Json to_json(const T& value) {
  if constexpr (IsConfig<T>) {
    Json object = Json::object();
    fields_to_json(value, object);
    return object;
  } else if constexpr (IsOneOf<T>::value) {
    Json object = {{"kind", value.kind()}};
    value.visit([&](const auto& config) { fields_to_json(config, object); });
    return object;
  } else if constexpr (ReadsItself<T>) {
    return value.write();
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

template <class Config>
std::vector<std::string> field_names() {
  std::vector<std::string> names;
  std::apply([&](const auto&... field) { (names.push_back(field.name), ...); }, Config::fields());
  return names;
}

template <class T>
void check_range(const T& value, double least, double most, const Place& place) {
  if constexpr (IsOptional<T>::value) {
    if (value) check_range(*value, least, most, place);
  } else if constexpr (std::is_arithmetic_v<T>) {
    const auto number = static_cast<double>(value);
    if (!(number >= least && number <= most))
      throw_config_error(place, concat("is ", number, ", outside ", range_text(least, most)));
  }
}

// Reads the fields that `json` names; which keys it has is checked before.
template <class Config>
void known_fields_from_json(const Json& json, Config& config, const Place& place) {
  const auto read = [&](const auto& field) {
    const auto found = json.find(field.name);
    if (found == json.end()) return;
    auto& member = config.*field.member;
    from_json(*found, member, place.inside(field.name));
    check_range(member, field.least, field.most, place.inside(field.name));
  };
  std::apply([&](const auto&... field) { (read(field), ...); }, Config::fields());
}

// Sets the fields that `json` names and leaves the others as they are.
template <class Config>
void fields_from_json(const Json& json, Config& config, const Place& place) {
  if (!json.is_object()) throw_wrong_type(place, "a table", json);
  const std::vector<std::string> known = field_names<Config>();
  for (const auto& [key, unused] : json.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw_config_error(place.inside(key), "is not a known key" + did_you_mean(key, known));
  known_fields_from_json(json, config, place);
}

// The kind that a table names, or the one that `value` has; a change of kind starts from that
// kind's defaults. A key of another kind is unknown.
template <class... Kinds>
void one_of_from_json(const Json& json, OneOf<Kinds...>& value, const Place& place) {
  if (!json.is_object()) throw_wrong_type(place, "a table", json);
  if (const auto kind = json.find("kind"); kind != json.end()) {
    if (!kind->is_string()) throw_wrong_type(place.inside("kind"), "a name", *kind);
    const auto name = kind->template get<std::string>();
    if (name != value.kind() && !value.set_kind(name)) {
      std::vector<std::string> known = {Kinds::kKind...};
      std::string allowed;
      for (const std::string& k : known) allowed += (allowed.empty() ? "" : ", ") + k;
      throw_config_error(place.inside("kind"),
                         "is '" + name + "', not one of " + allowed + did_you_mean(name, known));
    }
  }
  value.visit([&](auto& config) {
    using Config = std::remove_cvref_t<decltype(config)>;
    const std::vector<std::string> known = field_names<Config>();
    for (const auto& [key, unused] : json.items()) {
      if (key == "kind" || std::find(known.begin(), known.end(), key) != known.end()) continue;
      std::string elsewhere;
      const auto look = [&, &key = key](const char* kind, const std::vector<std::string>& names) {
        if (std::find(names.begin(), names.end(), key) != names.end())
          elsewhere += concat(elsewhere.empty() ? "; kind '" : ", '", kind, "'");
      };
      (look(Kinds::kKind, field_names<Kinds>()), ...);
      throw_config_error(place.inside(key), concat("is not a key of kind '", Config::kKind, "'",
                                                   elsewhere.empty() ? did_you_mean(key, known)
                                                                     : elsewhere + " has it"));
    }
    known_fields_from_json(json, config, place);
  });
}

template <class T>
void from_json(const Json& json, T& value, const Place& place) {
  if constexpr (IsConfig<T>) {
    fields_from_json(json, value, place);
  } else if constexpr (IsOneOf<T>::value) {
    one_of_from_json(json, value, place);
  } else if constexpr (ReadsItself<T>) {
    value.read(json, place);
  } else if constexpr (IsOptional<T>::value) {
    if (!value) value.emplace();
    from_json(json, *value, place);
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
// damage and not a wish for the default. An optional field may be absent.
template <class T>
void check_complete(const Json& json, const Place& place) {
  if constexpr (IsConfig<T>) {
    const auto check = [&](const auto& field) {
      using Member = std::remove_cvref_t<decltype(std::declval<T>().*field.member)>;
      const auto found = json.find(field.name);
      if (found != json.end())
        check_complete<Member>(*found, place.inside(field.name));
      else if (!IsOptional<Member>::value)
        throw_config_error(place.inside(field.name), "is missing");
    };
    std::apply([&](const auto&... field) { (check(field), ...); }, T::fields());
  } else if constexpr (IsOneOf<T>::value) {
    const auto kind = json.find("kind");
    if (kind == json.end()) throw_config_error(place.inside("kind"), "is missing");
    T value;
    if (value.kind() != *kind) value.set_kind(kind->template get<std::string>());
    value.visit([&](const auto& config) {
      check_complete<std::remove_cvref_t<decltype(config)>>(json, place);
    });
  } else if constexpr (IsOptional<T>::value) {
    check_complete<typename T::value_type>(json, place);
  } else if constexpr (IsVector<T>::value) {
    for (std::size_t i = 0; i < json.size(); ++i)
      check_complete<typename T::value_type>(json[i], place.inside(std::to_string(i)));
  }
}

template <class Config>
Config read_config(const Json& json, const std::string& file) {
  Config config;
  fields_from_json(json, config, Place{file, ""});
  return config;
}

// A field as help shows it. Of a field of several kinds every kind is listed, its keys' help marked
// with its name; a list of tables is shown as one of them.
struct FieldLine {
  std::string key;  // dotted
  std::optional<Json> value;
  std::string help, range;  // range: "1 to 9", "red, green", empty: any
};
// "key = default  # help (range)"
std::string to_text(const FieldLine& line);

template <class Config>
void describe_fields(const Config& defaults, const std::string& prefix,
                     std::vector<FieldLine>& lines, const std::string& mark = "");

template <class T>
void describe_value(const T& value, const std::string& key, const std::string& help,
                    const std::string& range, std::vector<FieldLine>& lines,
                    const std::string& mark) {
  if constexpr (IsConfig<T>) {
    describe_fields(value, key + ".", lines, mark);
  } else if constexpr (IsOneOf<T>::value) {
    std::string kinds;
    for (const std::string& kind : T::kinds()) kinds += (kinds.empty() ? "" : ", ") + kind;
    lines.push_back({key + ".kind", value.kind(), mark + help, kinds});
    T::for_each_kind([&](const auto& config) {
      describe_fields(config, key + ".", lines, concat(mark, config.kKind, ": "));
    });
  } else if constexpr (IsOptional<T>::value) {
    if (value) return describe_value(*value, key, help, range, lines, mark);
    using Inner = typename T::value_type;
    if constexpr (IsConfig<Inner> || IsOneOf<Inner>::value)
      describe_value(Inner{}, key, help, range, lines, mark + "optional: ");
    else
      lines.push_back({key, std::nullopt, mark + "optional: " + help, range});
  } else if constexpr (IsVector<T>::value) {
    using Item = typename T::value_type;
    if constexpr (IsConfig<Item> || IsOneOf<Item>::value)
      describe_value(Item{}, key + "[]", help, range, lines, mark);
    else
      lines.push_back({key, to_json(value), mark + help, range});
  } else if constexpr (std::is_enum_v<T>) {
    std::string names;
    for (const char* n : EnumNames<T>::names) names += concat(names.empty() ? "" : ", ", n);
    lines.push_back({key, to_json(value), mark + help, names});
  } else {
    const bool truth = std::is_same_v<T, bool>;
    lines.push_back({key, to_json(value), mark + help, truth ? "true, false" : range});
  }
}

template <class Config>
void describe_fields(const Config& defaults, const std::string& prefix,
                     std::vector<FieldLine>& lines, const std::string& mark) {
  std::apply(
      [&](const auto&... field) {
        (describe_value(defaults.*field.member, prefix + field.name, field.help,
                        range_text(field.least, field.most), lines, mark),
         ...);
      },
      Config::fields());
}

}  // namespace mote
