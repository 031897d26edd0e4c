// Reading a tokenizer's JSON part by part, with errors that name the file and the field.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/check.h"

namespace mote::text {

// Sorted by key: an ordered one looks through all keys at each insertion, too slow for a
// vocabulary.
using SortedJson = nlohmann::json;

class JsonReader {
 public:
  explicit JsonReader(std::string file) : file_(std::move(file)) {}

  // Throws an error of the file for what is not JSON.
  SortedJson parse(const std::string& json) const;
  [[noreturn]] void fail(const std::string& field, const std::string& what,
                         ErrorKind kind = ErrorKind::file) const;
  // For a part that this program does not know.
  [[noreturn]] void refuse(const std::string& field, const std::string& what) const;

  // Of `object`, which stands at `place` ("" for the whole file).
  const SortedJson& member(const SortedJson& object, const char* key,
                           const std::string& place) const;
  // null if it is missing.
  const SortedJson& optional(const SortedJson& object, const char* key) const;
  std::string text(const SortedJson& object, const char* key, const std::string& place) const;
  bool flag(const SortedJson& object, const char* key, bool otherwise,
            const std::string& place) const;
  std::size_t whole(const SortedJson& value, const std::string& place) const;
  const SortedJson& list(const SortedJson& object, const char* key, const std::string& place) const;

  const std::string& file() const { return file_; }

 private:
  const std::string file_;
};

// For messages. What has parts is only named: writing it out may take much room, and one stack
// frame a level.
std::string brief(const SortedJson& value);

}  // namespace mote::text
