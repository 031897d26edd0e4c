#include <algorithm>
#include <cmath>

#include "text/jinja/builtins.h"
#include "text/jinja/given.h"
#include "text/jinja/text_methods.h"

namespace mote::text::jinja {
namespace {

constexpr std::size_t kMostItems = 1'000'000;

Value keys_of(const Value::Dict& dict) {
  Items list;
  for (const auto& entry : dict.entries) list.emplace_back(entry.first);
  return Value::list(std::move(list));
}
Value values_of(const Value::Dict& dict) {
  Items list;
  for (const auto& entry : dict.entries) list.push_back(entry.second);
  return Value::list(std::move(list));
}

bool is_dict_method(const std::string& name) {
  return name == "items" || name == "keys" || name == "values" || name == "get";
}

Value dict_method(const Value& value, const std::string& name) {
  const auto call = [value, name](Arguments& arguments) -> Value {
    Given given(name, arguments);
    const Value::Dict& dict = value.entries();
    if (name == "get") {
      const Value& key = given.need(0, "key");
      const Value* otherwise = given.find(1, "default");
      given.done();
      const Value* there = key.is<std::string>() ? dict.find(key.text()) : nullptr;
      return there != nullptr ? *there : otherwise != nullptr ? *otherwise : Value();
    }
    given.done();
    return name == "items" ? items_of(dict) : name == "keys" ? keys_of(dict) : values_of(dict);
  };
  return {Function(call), value.depth()};
}

std::int64_t clamped(const Value& value, std::int64_t otherwise, std::int64_t size,
                     std::int64_t least, std::int64_t most) {
  if (value.is<None>()) return otherwise;
  if (!value.is_whole()) fail(concat("a slice needs integers, not a ", value.type_name()));
  std::int64_t at = std::clamp(value.whole(), -size - 1, size + 1);
  if (at < 0) at += size;
  return std::clamp(at, least, most);
}

Value whole_arithmetic(const std::string& sign, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  bool overflow = false;
  if (sign == "+") {
    overflow = __builtin_add_overflow(left, right, &result);
  } else if (sign == "-") {
    overflow = __builtin_sub_overflow(left, right, &result);
  } else if (sign == "*") {
    overflow = __builtin_mul_overflow(left, right, &result);
  } else if (sign == "**") {
    if (right < 0) return std::pow(static_cast<double>(left), static_cast<double>(right));
    result = 1;
    if (right > 64 && left != 0 && left != 1 && left != -1) overflow = true;
    for (std::int64_t i = 0, n = right > 64 ? 64 + right % 2 : right; i < n && !overflow; ++i)
      overflow = __builtin_mul_overflow(result, left, &result);
  } else {
    if (right == 0) fail("a division by 0");
    if (sign == "/") return static_cast<double>(left) / static_cast<double>(right);
    if (right == -1) return sign == "%" ? Value(std::int64_t{0}) : whole_arithmetic("-", 0, left);
    // As Python rounds: towards minus infinity.
    const std::int64_t rest = left % right;
    const bool down = rest != 0 && (rest < 0) != (right < 0);
    result = sign == "%" ? rest + (down ? right : 0) : left / right - (down ? 1 : 0);
  }
  if (overflow) fail(concat(left, " ", sign, " ", right, " is too large"));
  return result;
}

Value real_arithmetic(const std::string& sign, double left, double right) {
  if (sign == "+") return left + right;
  if (sign == "-") return left - right;
  if (sign == "*") return left * right;
  if (sign == "**") return std::pow(left, right);
  if (right == 0) fail("a division by 0");
  if (sign == "/") return left / right;
  const double quotient = std::floor(left / right);
  return sign == "//" ? quotient : left - quotient * right;
}

Value repeated(const Value& value, std::int64_t count) {
  const std::size_t times = count < 0 ? 0 : static_cast<std::size_t>(count);
  if (value.is<std::string>()) {
    if (times > 0 && value.text().size() > Budget::kMostBytes / times) fail("a text is too long");
    std::string text;
    for (std::size_t i = 0; i < times && !value.text().empty(); ++i) text += value.text();
    return text;
  }
  if (times > 0 && value.items().size() > kMostItems / times) fail("a list is too long");
  Items items;
  for (std::size_t i = 0; i < times && !value.items().empty(); ++i)
    items.insert(items.end(), value.items().begin(), value.items().end());
  return Value::list(std::move(items));
}

}  // namespace

Value items_of(const Value::Dict& dict) {
  Items list;
  for (const auto& [key, value] : dict.entries) list.push_back(Value::list({Value(key), value}));
  return Value::list(std::move(list));
}

void Budget::spend(std::size_t bytes) {
  steps_ += 1 + bytes / 64;
  if (steps_ > kMostSteps) fail("the template needs too many steps");
}

Items iterate(const Value& value) {
  if (value.is_list()) return value.items();
  if (value.is_dict()) return keys_of(value.entries()).items();
  if (value.is<Undefined>()) return {};
  if (!value.is<std::string>())
    fail(concat("a value of type ", value.type_name(), " has no items"));
  Items items;
  for (const std::string_view c : characters(value.text())) items.emplace_back(std::string(c));
  return items;
}

std::int64_t length(const Value& value) {
  if (value.is<std::string>()) return static_cast<std::int64_t>(characters(value.text()).size());
  if (value.is_list()) return static_cast<std::int64_t>(value.items().size());
  if (value.is_dict()) return static_cast<std::int64_t>(value.entries().entries.size());
  if (value.is<Undefined>()) return 0;
  fail(concat("a value of type ", value.type_name(), " has no length"));
}

int order(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number())
    return left.number() < right.number() ? -1 : left.number() > right.number() ? 1 : 0;
  if (left.is<std::string>() && right.is<std::string>()) return left.text().compare(right.text());
  if (left.is_list() && right.is_list()) {
    const std::size_t both = std::min(left.items().size(), right.items().size());
    for (std::size_t i = 0; i < both; ++i)
      if (const int first = order(left.items()[i], right.items()[i]); first != 0) return first;
    return static_cast<int>(left.items().size() > both) -
           static_cast<int>(right.items().size() > both);
  }
  fail(concat("a ", left.type_name(), " and a ", right.type_name(), " cannot be ordered"));
}

Value attribute(const Value& value, const std::string& name) {
  if (value.is<Undefined>())
    fail(concat("'", value.undefined_name(), "' is undefined and has no '", name, "'"));
  if (value.is_dict() && !value.entries().is_namespace && is_dict_method(name))
    return dict_method(value, name);
  if (value.is_dict()) {
    const Value* there = value.entries().find(name);
    return there == nullptr ? Value(Undefined{name}) : *there;
  }
  if (value.is<std::string>()) {
    const auto method = text_methods().find(name);
    if (method == text_methods().end()) return Undefined{name};
    return Function([text = value.text(), call = method->second, name](Arguments& arguments) {
      Given given(name, arguments);
      Value result = call(text, given);
      given.done();
      return result;
    });
  }
  return Undefined{name};
}

Value item(const Value& value, const Value& key) {
  if (value.is<Undefined>()) fail("'" + value.undefined_name() + "' is undefined and has no items");
  if (value.is_dict() && key.is<std::string>()) {
    if (const Value* there = value.entries().find(key.text())) return *there;
    return attribute(value, key.text());
  }
  if (key.is<std::string>()) return attribute(value, key.text());
  if (!key.is_whole() || !(value.is_list() || value.is<std::string>())) return Undefined{key.str()};
  const std::int64_t size = length(value);
  const std::int64_t at = key.whole() < 0 ? key.whole() + size : key.whole();
  if (at < 0 || at >= size) return Undefined{key.str()};
  const auto index = static_cast<std::size_t>(at);
  return value.is_list() ? value.items()[index]
                         : Value(std::string(characters(value.text())[index]));
}

Value slice(const Value& value, const Value& from, const Value& to, const Value& by) {
  if (!value.is_list() && !value.is<std::string>())
    fail(concat("a value of type ", value.type_name(), " cannot be sliced"));
  if (!by.is<None>() && !by.is_whole()) fail("a slice needs integers");
  const std::int64_t size = length(value);
  const std::int64_t step =
      by.is<None>() ? 1 : std::clamp<std::int64_t>(by.whole(), -size - 1, size + 1);
  if (step == 0) fail("a slice's step is 0");
  const std::int64_t least = step > 0 ? 0 : -1, most = step > 0 ? size : size - 1;
  const std::int64_t begin = clamped(from, step > 0 ? 0 : size - 1, size, least, most);
  const std::int64_t end = clamped(to, step > 0 ? size : -1, size, least, most);
  Items items;
  std::string text;
  const auto list = value.is_list() ? std::vector<std::string_view>() : characters(value.text());
  for (std::int64_t at = begin; step > 0 ? at < end : at > end; at += step) {
    const auto index = static_cast<std::size_t>(at);
    if (value.is_list())
      items.push_back(value.items()[index]);
    else
      text += list[index];
  }
  return value.is_list() ? Value::list(std::move(items)) : Value(std::move(text));
}

Value binary(const std::string& sign, const Value& left, const Value& right, Budget& budget) {
  if (sign == "~") {
    std::string text = left.str() + right.str();
    if (text.size() > Budget::kMostBytes) fail("a text is too long");
    budget.spend(text.size());
    return text;
  }
  if (left.is_number() && right.is_number())
    return left.is_whole() && right.is_whole()
               ? whole_arithmetic(sign, left.whole(), right.whole())
               : real_arithmetic(sign, left.number(), right.number());
  if (sign == "+" && left.is<std::string>() && right.is<std::string>())
    return binary("~", left, right, budget);
  if (sign == "+" && left.is_list() && right.is_list()) {
    Items items = left.items();
    items.insert(items.end(), right.items().begin(), right.items().end());
    if (items.size() > kMostItems) fail("a list is too long");
    budget.spend(64 * items.size());
    return Value::list(std::move(items));
  }
  if (sign == "*" && (left.is<std::string>() || left.is_list()) && right.is_whole()) {
    Value result = repeated(left, right.whole());
    budget.spend(result.is_list() ? 64 * result.items().size() : result.text().size());
    return result;
  }
  const auto named = [](const Value& value) {
    return value.is<Undefined>() ? "undefined '" + value.undefined_name() + "'"
                                 : std::string(value.type_name());
  };
  fail(concat(named(left), " ", sign, " ", named(right), " has no meaning"));
}

bool compare(const std::string& sign, const Value& left, const Value& right) {
  if (sign == "==") return left.equals(right);
  if (sign == "!=") return !left.equals(right);
  if (sign == "not in") return !compare("in", left, right);
  if (sign == "in") {
    if (right.is<std::string>()) {
      if (!left.is<std::string>()) fail(concat("a ", left.type_name(), " cannot be in a string"));
      return right.text().find(left.text()) != std::string::npos;
    }
    if (right.is_dict())
      return left.is<std::string>() && right.entries().find(left.text()) != nullptr;
    const Items items = iterate(right);
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& each) { return each.equals(left); });
  }
  const int first = order(left, right);
  return sign == "<" ? first < 0 : sign == "<=" ? first <= 0 : sign == ">" ? first > 0 : first >= 0;
}

}  // namespace mote::text::jinja
