// What a template's expressions are: Python's values, as far as templates see them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/fields.h"

namespace mote::text::jinja {

class Value;
struct Undefined {
  std::string name;  // for messages
};
struct None {};
using Items = std::vector<Value>;
using Entries = std::vector<std::pair<std::string, Value>>;

struct Arguments {
  Items at;
  Entries named;
};
using Function = std::function<Value(Arguments&)>;

// Lists and dicts are shared, not copied; only a namespace changes after it is made. They hold at
// most kMostDepth levels, so that no recursion over them is deep, and kMostSize values and bytes of
// text, each counted wherever it is seen, so that none is long.
class Value {
 public:
  static constexpr int kMostDepth = 100;
  static constexpr std::size_t kMostSize = std::size_t{1} << 26;
  struct List {
    Items items;
    int depth = 1;
    std::size_t size = 1;
  };
  struct Dict {
    Entries entries;
    int depth = 1;
    std::size_t size = 1;
    bool is_namespace = false;
    const Value* find(const std::string& key) const;
  };

  struct Call {
    Function function;
    int depth = 0;
  };

  Value() : data_(None{}) {}
  Value(bool value) : data_(value) {}                      // NOLINT(google-explicit-constructor)
  Value(std::int64_t value) : data_(value) {}              // NOLINT(google-explicit-constructor)
  Value(double value) : data_(value) {}                    // NOLINT(google-explicit-constructor)
  Value(std::string value) : data_(std::move(value)) {}    // NOLINT(google-explicit-constructor)
  Value(const char* value) : data_(std::string(value)) {}  // NOLINT(google-explicit-constructor)
  Value(Undefined value) : data_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  // `holds` is what the function keeps of values: their depth counts.
  Value(Function value, int holds = 0);  // NOLINT(google-explicit-constructor)
  // Throw Error for what is nested too deeply, and for a namespace inside.
  static Value list(Items items);
  static Value dict(Entries entries);
  static Value make_namespace(Entries entries);
  static Value from_json(const Json& json, int level = 0);

  template <class T>
  bool is() const {
    return std::holds_alternative<T>(data_);
  }
  bool is_list() const { return is<std::shared_ptr<List>>(); }
  bool is_dict() const { return is<std::shared_ptr<Dict>>(); }
  bool is_number() const { return is<bool>() || is<std::int64_t>() || is<double>(); }
  bool is_whole() const { return is<bool>() || is<std::int64_t>(); }
  const std::string& text() const { return std::get<std::string>(data_); }
  const Items& items() const { return std::get<std::shared_ptr<List>>(data_)->items; }
  const Dict& entries() const { return *std::get<std::shared_ptr<Dict>>(data_); }
  const Function& function() const { return std::get<std::shared_ptr<Call>>(data_)->function; }
  bool is_function() const { return is<std::shared_ptr<Call>>(); }
  std::int64_t whole() const {
    return is<bool>() ? std::get<bool>(data_) : std::get<std::int64_t>(data_);
  }
  double number() const {
    return is<double>() ? std::get<double>(data_) : static_cast<double>(whole());
  }
  const std::string& undefined_name() const { return std::get<Undefined>(data_).name; }

  void set_attribute(const std::string& name, const Value& value);  // of a namespace

  bool truthy() const;
  bool equals(const Value& other) const;
  std::string str() const;   // as Python prints it
  std::string repr() const;  // as it stands inside a printed list
  // As json.dumps(ensure_ascii=False) writes it; indent -1: on one line.
  std::string json(int indent) const;
  const char* type_name() const;
  int depth() const;
  std::size_t size() const;  // values and bytes of text

 private:
  std::variant<Undefined, None, bool, std::int64_t, double, std::string, std::shared_ptr<List>,
               std::shared_ptr<Dict>, std::shared_ptr<Call>>
      data_;
};

}  // namespace mote::text::jinja
