#include "text/jinja/value.h"

#include <charconv>
#include <cmath>

#include "base/check.h"

namespace mote::text::jinja {
namespace {

// The shortest digits that read back the same, written as Python does.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const double size = std::abs(value);
  const auto format = value == 0 || (size >= 1e-4 && size < 1e16) ? std::chars_format::fixed
                                                                  : std::chars_format::scientific;
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, format).ptr;
  std::string text(digits, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string quoted_for_python(const std::string& text) {
  const char quote =
      text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\')
      result += {'\\', c};
    else if (c == '\n')
      result += "\\n";
    else if (c == '\r')
      result += "\\r";
    else if (c == '\t')
      result += "\\t";
    else
      result += c;
  }
  return result + quote;
}

std::string quoted_for_json(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        result += "\\\"";
        break;
      case '\\':
        result += "\\\\";
        break;
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      case '\b':
        result += "\\b";
        break;
      case '\f':
        result += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char code[8];
          std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
          result += code;
        } else {
          result += c;
        }
    }
  }
  return result + "\"";
}

int depth_over(int depth) {
  MOTE_CHECK(depth < Value::kMostDepth, "values are nested more than ", Value::kMostDepth,
             " levels deep");
  return depth + 1;
}

std::size_t size_with(std::size_t size, std::size_t more) {
  MOTE_CHECK(size + more <= Value::kMostSize, "values are larger than ", Value::kMostSize,
             " bytes and parts");
  return size + more;
}

void refuse_namespace(const Value& value) {
  MOTE_CHECK(!value.is_dict() || !value.entries().is_namespace,
             "a namespace cannot stand inside another value");
}

// Entries one after another, on one line or one a line.
class JsonList {
 public:
  JsonList(char open, char close, int indent, int level)
      : text_(1, open), close_(close), indent_(indent), level_(level) {}
  void add(const std::string& entry) {
    if (!empty_) text_ += indent_ < 0 ? ", " : ",";
    new_line(level_ + 1);
    text_ += entry;
    empty_ = false;
  }
  std::string finish() {
    if (!empty_) new_line(level_);
    return text_ + close_;
  }

 private:
  void new_line(int level) {
    if (indent_ >= 0) text_ += "\n" + std::string(static_cast<std::size_t>(indent_ * level), ' ');
  }
  std::string text_;
  const char close_;
  const int indent_, level_;
  bool empty_ = true;
};

std::string json_of(const Value& value, int indent, int level) {
  if (value.is<std::string>()) return quoted_for_json(value.text());
  if (value.is<None>()) return "null";
  if (value.is<bool>()) return value.whole() != 0 ? "true" : "false";
  if (value.is_whole()) return std::to_string(value.whole());
  if (value.is<double>()) {
    const std::string text = float_text(value.number());
    return text == "nan" ? "NaN" : text == "inf" ? "Infinity" : text == "-inf" ? "-Infinity" : text;
  }
  MOTE_CHECK(value.is_list() || value.is_dict(), "a value of type ", value.type_name(),
             " cannot be written as JSON");
  JsonList list(value.is_list() ? '[' : '{', value.is_list() ? ']' : '}', indent, level);
  if (value.is_list())
    for (const Value& item : value.items()) list.add(json_of(item, indent, level + 1));
  else
    for (const auto& [key, item] : value.entries().entries)
      list.add(quoted_for_json(key) + ": " + json_of(item, indent, level + 1));
  return list.finish();
}

}  // namespace

const Value* Value::Dict::find(const std::string& key) const {
  for (const auto& [name, value] : entries)
    if (name == key) return &value;
  return nullptr;
}

Value::Value(Function value, int holds)
    : data_(std::make_shared<Call>(Call{std::move(value), holds == 0 ? 0 : depth_over(holds)})) {}

Value Value::list(Items items) {
  int depth = 0;
  std::size_t size = 1;
  for (const Value& item : items) {
    refuse_namespace(item);
    depth = std::max(depth, item.depth());
    size = size_with(size, item.size());
  }
  Value value;
  value.data_ = std::make_shared<List>(List{std::move(items), depth_over(depth), size});
  return value;
}

Value Value::dict(Entries entries) {
  int depth = 0;
  std::size_t size = 1;
  for (const auto& [key, item] : entries) {
    refuse_namespace(item);
    depth = std::max(depth, item.depth());
    size = size_with(size, key.size() + item.size());
  }
  Value value;
  value.data_ = std::make_shared<Dict>(Dict{std::move(entries), depth_over(depth), size, false});
  return value;
}

Value Value::make_namespace(Entries entries) {
  Value value = dict(std::move(entries));
  std::get<std::shared_ptr<Dict>>(value.data_)->is_namespace = true;
  return value;
}

void Value::set_attribute(const std::string& name, const Value& value) {
  MOTE_CHECK(is_dict() && entries().is_namespace, "only a namespace's attributes can be set");
  refuse_namespace(value);
  Dict& dict = *std::get<std::shared_ptr<Dict>>(data_);
  dict.depth = std::max(dict.depth, depth_over(value.depth()));
  dict.size = size_with(dict.size, name.size() + value.size());
  for (const auto& [key, old] : dict.entries)
    if (key == name) dict.size -= name.size() + old.size();
  for (auto& [key, old] : dict.entries)
    if (key == name) return void(old = value);
  dict.entries.emplace_back(name, value);
}

Value Value::from_json(const Json& json, int level) {
  MOTE_CHECK(level < kMostDepth, "values are nested more than ", kMostDepth, " levels deep");
  switch (json.type()) {
    case Json::value_t::null:
      return {};
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<std::int64_t>();
    case Json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
        return json.get<double>();
      return json.get<std::int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return json.get<std::string>();
    case Json::value_t::array: {
      Items items;
      for (const Json& item : json) items.push_back(from_json(item, level + 1));
      return list(std::move(items));
    }
    case Json::value_t::object: {
      Entries entries;
      for (const auto& [key, item] : json.items())
        entries.emplace_back(key, from_json(item, level + 1));
      return dict(std::move(entries));
    }
    default:
      throw Error(ErrorKind::value, "binary data cannot stand in a conversation");
  }
}

int Value::depth() const {
  if (is_list()) return std::get<std::shared_ptr<List>>(data_)->depth;
  if (is_function()) return std::get<std::shared_ptr<Call>>(data_)->depth;
  return is_dict() ? entries().depth : 0;
}

std::size_t Value::size() const {
  if (is<std::string>()) return 1 + text().size();
  if (is_list()) return std::get<std::shared_ptr<List>>(data_)->size;
  return is_dict() ? entries().size : 1;
}

bool Value::truthy() const {
  if (is<Undefined>() || is<None>()) return false;
  if (is_number()) return number() != 0;
  if (is<std::string>()) return !text().empty();
  if (is_list()) return !items().empty();
  return !is_dict() || entries().is_namespace || !entries().entries.empty();
}

bool Value::equals(const Value& other) const {
  if (is_number() && other.is_number())
    return is_whole() && other.is_whole() ? whole() == other.whole() : number() == other.number();
  if (is<std::string>() && other.is<std::string>()) return text() == other.text();
  if (is<None>() || is<Undefined>()) return data_.index() == other.data_.index();
  if (is_list() && other.is_list()) {
    if (items().size() != other.items().size()) return false;
    for (std::size_t i = 0; i < items().size(); ++i)
      if (!items()[i].equals(other.items()[i])) return false;
    return true;
  }
  if (!is_dict() || !other.is_dict() || entries().entries.size() != other.entries().entries.size())
    return false;
  for (const auto& [key, value] : entries().entries) {
    const Value* there = other.entries().find(key);
    if (there == nullptr || !value.equals(*there)) return false;
  }
  return true;
}

std::string Value::str() const {
  return is<std::string>() ? text() : repr();
}

std::string Value::repr() const {
  if (is<Undefined>()) return "";
  if (is<None>()) return "None";
  if (is<bool>()) return whole() != 0 ? "True" : "False";
  if (is<std::int64_t>()) return std::to_string(whole());
  if (is<double>()) return float_text(number());
  if (is<std::string>()) return quoted_for_python(text());
  std::string result;
  if (is_list()) {
    for (const Value& item : items()) result += (result.empty() ? "" : ", ") + item.repr();
    return "[" + result + "]";
  }
  MOTE_CHECK(is_dict(), "a function cannot be printed");
  for (const auto& [key, value] : entries().entries)
    result += (result.empty() ? "" : ", ") + quoted_for_python(key) + ": " + value.repr();
  return "{" + result + "}";
}

std::string Value::json(int indent) const {
  return json_of(*this, indent, 0);
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"undefined", "none", "boolean", "integer", "float",
                                           "string",    "list", "dict",    "function"};
  return kNames[data_.index()];
}

}  // namespace mote::text::jinja
