// The arguments of a call, as filters, tests, methods and functions ask for them.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "text/jinja/value.h"

namespace mote::text::jinja {

[[noreturn]] inline void fail(const std::string& what) {
  throw Error(ErrorKind::value, what);
}

// The arguments of a call to `what`, each asked for by its place or its name.
class Given {
 public:
  Given(std::string what, Arguments& arguments) : what_(std::move(what)), arguments_(arguments) {}

  // nullptr: not given.
  const Value* find(std::size_t place, const char* name) {
    most_ = std::max(most_, place + 1);
    if (place < arguments_.at.size()) return &arguments_.at[place];
    for (const auto& [key, value] : arguments_.named)
      if (key == name) {
        ++used_names_;
        return &value;
      }
    return nullptr;
  }
  const Value& need(std::size_t place, const char* name) {
    const Value* value = find(place, name);
    if (value == nullptr) fail(concat(what_, " needs ", name));
    return *value;
  }
  std::string text(std::size_t place, const char* name) {
    const Value& value = need(place, name);
    if (!value.is<std::string>())
      fail(concat(what_, ": ", name, " is of type ", value.type_name(), ", not string"));
    return value.text();
  }
  std::string text(std::size_t place, const char* name, const char* otherwise) {
    const Value* value = find(place, name);
    return value == nullptr || value->is<None>() ? otherwise : text(place, name);
  }
  std::int64_t whole(std::size_t place, const char* name, std::int64_t otherwise) {
    const Value* value = find(place, name);
    if (value == nullptr || value->is<None>()) return otherwise;
    if (!value->is_whole())
      fail(concat(what_, ": ", name, " is of type ", value->type_name(), ", not integer"));
    return value->whole();
  }
  bool flag(std::size_t place, const char* name, bool otherwise) {
    const Value* value = find(place, name);
    return value == nullptr ? otherwise : value->truthy();
  }
  // After all were asked for: none is left over.
  void done() const {
    if (arguments_.at.size() > most_ || arguments_.named.size() > used_names_)
      fail(concat(what_, " has an argument that is unknown",
                  arguments_.named.empty() ? "" : ": " + arguments_.named.back().first));
  }

 private:
  const std::string what_;
  Arguments& arguments_;
  std::size_t most_ = 0, used_names_ = 0;
};

}  // namespace mote::text::jinja
