#include "text/json_reader.h"

#include "base/json_text.h"

namespace mote::text {

std::string brief(const SortedJson& value) {
  return value.is_structured() ? concat("an ", value.type_name()) : value.dump();
}

SortedJson JsonReader::parse(const std::string& json) const {
  try {
    return SortedJson::parse(json);
  } catch (const SortedJson::exception& problem) {
    throw Error(ErrorKind::file, concat(file_, ": ", json_problem(problem))).in(file_);
  }
}

void JsonReader::fail(const std::string& field, const std::string& what, ErrorKind kind) const {
  throw Error(kind, concat(file_, ": ", field.empty() ? "the file" : field, " ", what))
      .in(file_)
      .at(field);
}

void JsonReader::refuse(const std::string& field, const std::string& what) const {
  fail(field, what, ErrorKind::unsupported);
}

const SortedJson& JsonReader::member(const SortedJson& object, const char* key,
                                     const std::string& place) const {
  const std::string field = place.empty() ? key : place + "." + key;
  if (!object.is_object()) fail(place, "is not a JSON object");
  const auto found = object.find(key);
  if (found == object.end()) fail(field, "is missing");
  return *found;
}

const SortedJson& JsonReader::optional(const SortedJson& object, const char* key) const {
  static const SortedJson none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

std::string JsonReader::text(const SortedJson& object, const char* key,
                             const std::string& place) const {
  const SortedJson& value = member(object, key, place);
  if (!value.is_string()) fail(place + "." + key, concat("is a ", value.type_name(), ", not text"));
  return value.get<std::string>();
}

bool JsonReader::flag(const SortedJson& object, const char* key, bool otherwise,
                      const std::string& place) const {
  const SortedJson& value = optional(object, key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean())
    fail(place + "." + key, concat("is a ", value.type_name(), ", not true or false"));
  return value.get<bool>();
}

std::size_t JsonReader::whole(const SortedJson& value, const std::string& place) const {
  if (!value.is_number_unsigned())
    fail(place, concat("has an id that is not a whole number from 0: ", brief(value)));
  return value.get<std::size_t>();
}

const SortedJson& JsonReader::list(const SortedJson& object, const char* key,
                                   const std::string& place) const {
  const SortedJson& value = member(object, key, place);
  if (!value.is_array()) fail(place.empty() ? key : place + "." + key, "is not a list");
  return value;
}

}  // namespace mote::text
