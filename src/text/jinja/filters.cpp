#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "text/jinja/builtins.h"
#include "text/jinja/given.h"
#include "text/jinja/text_methods.h"
#include "text/unicode.h"

namespace mote::text::jinja {
namespace {

// a.b.c or a.0, from the attribute argument of map, join, sort and others.
Value path(Value value, const std::string& names) {
  std::size_t begin = 0;
  while (begin <= names.size()) {
    const std::size_t end = std::min(names.find('.', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    if (all_of_class(name, '0', '9') && name.size() < 10)
      value = item(value, Value(static_cast<std::int64_t>(std::stol(name))));
    else
      value = item(value, Value(name));
    begin = end + 1;
  }
  return value;
}

Value sorted(Items items, const std::string& by, bool reverse, bool case_sensitive) {
  const auto key = [&](const Value& value) {
    Value found = by.empty() ? value : path(value, by);
    if (!case_sensitive && found.is<std::string>()) return Value(lowercase(found.text()));
    return found;
  };
  std::stable_sort(items.begin(), items.end(), [&](const Value& left, const Value& right) {
    return reverse ? order(key(right), key(left)) < 0 : order(key(left), key(right)) < 0;
  });
  return Value::list(std::move(items));
}

std::string indented(const std::string& text, const std::string& by, bool first, bool blank) {
  std::string result;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (begin == 0 ? first : (blank || end > begin)) result += by;
    result.append(text, begin, end - begin);
    if (end < text.size()) result += '\n';
    begin = end + 1;
  }
  return result;
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const char* name = c == '&'    ? "&amp;"
                       : c == '<'  ? "&lt;"
                       : c == '>'  ? "&gt;"
                       : c == '"'  ? "&#34;"
                       : c == '\'' ? "&#39;"
                                   : nullptr;
    if (name != nullptr)
      result += name;
    else
      result += c;
  }
  return result;
}

// The number that a string is, whole, between white space.
template <class Number>
Number number_in(const Value& value, Number otherwise) {
  if (!value.is<std::string>()) return otherwise;
  const std::string text = stripped(value.text(), nullptr, Side::both);
  Number number = 0;
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  return result.ec == std::errc() && result.ptr == end ? number : otherwise;
}

Value to_whole(const Value& value, std::int64_t otherwise) {
  if (value.is_whole()) return value.whole();
  if (value.is<double>() && std::abs(value.number()) < 9e18)
    return static_cast<std::int64_t>(value.number());
  return number_in(value, otherwise);
}

Value to_real(const Value& value, double otherwise) {
  return value.is_number() ? value.number() : number_in(value, otherwise);
}

Arguments after(const Arguments& arguments, std::size_t first) {
  Arguments rest;
  for (std::size_t i = first; i < arguments.at.size(); ++i) rest.at.push_back(arguments.at[i]);
  return rest;
}

// select, reject, selectattr, rejectattr.
Value selected(const std::string& name, const Value& value, Arguments& arguments) {
  const bool by_attribute = name.ends_with("attr"), wanted = name.starts_with("select");
  Given given(name, arguments);
  const std::string attribute_name = by_attribute ? given.text(0, "attribute") : "";
  const std::size_t first = by_attribute ? 1 : 0;
  const std::string test_name = given.text(first, "test", "");
  Arguments rest = after(arguments, first + 1);
  Items kept;
  for (const Value& each : iterate(value)) {
    const Value looked = by_attribute ? path(each, attribute_name) : each;
    const bool holds = test_name.empty() ? looked.truthy() : test(test_name, looked, rest);
    if (holds == wanted) kept.push_back(each);
  }
  return Value::list(std::move(kept));
}

Value mapped_items(const Value& value, Arguments& arguments, Budget& budget) {
  Items made;
  Given given("map", arguments);
  const Value* by = arguments.at.empty() ? given.find(0, "attribute") : nullptr;
  const Value* otherwise = arguments.at.empty() ? given.find(1, "default") : nullptr;
  for (const Value& each : iterate(value)) {
    if (by != nullptr) {
      Value found = path(each, by->str());
      if (found.is<Undefined>() && otherwise != nullptr) found = *otherwise;
      made.push_back(std::move(found));
    } else {
      Arguments rest = after(arguments, 1);
      made.push_back(filter(given.text(0, "filter"), each, rest, budget));
    }
  }
  return Value::list(std::move(made));
}

Value extreme(const Value& value, bool most) {
  const Items items = iterate(value);
  if (items.empty()) return Undefined{"the least or greatest of nothing"};
  const Value* best = &items[0];
  for (const Value& each : items)
    if (most ? order(each, *best) > 0 : order(each, *best) < 0) best = &each;
  return *best;
}

Value unique(const Value& value) {
  Items kept;
  for (const Value& each : iterate(value))
    if (std::none_of(kept.begin(), kept.end(), [&](const Value& k) { return k.equals(each); }))
      kept.push_back(each);
  return Value::list(std::move(kept));
}

Value round_number(const Value& value, std::int64_t digits, const std::string& method) {
  if (!value.is_number()) fail(concat("round: a ", value.type_name(), " is no number"));
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = value.number() * scale;
  const double whole = method == "ceil"    ? std::ceil(scaled)
                       : method == "floor" ? std::floor(scaled)
                                           : std::nearbyint(scaled);
  return whole / scale;
}

Value reversed(const Value& value) {
  if (value.is<std::string>()) {
    auto list = characters(value.text());
    std::string text;
    for (auto at = list.rbegin(); at != list.rend(); ++at) text += *at;
    return text;
  }
  Items items = iterate(value);
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

using Filter = Value (*)(const Value& value, Given& given);
const std::map<std::string, Filter>& plain_filters() {
  static const std::map<std::string, Filter> kFilters = {
      {"trim",
       [](const Value& v, Given& g) -> Value {
         const Value* set = g.find(0, "chars");
         if (set == nullptr || set->is<None>()) return stripped(v.str(), nullptr, Side::both);
         const std::string chars = g.text(0, "chars");
         return stripped(v.str(), &chars, Side::both);
       }},
      {"tojson",
       [](const Value& v, Given& g) -> Value {
         const Value* indent = g.find(0, "indent");
         g.flag(1, "ensure_ascii", false);
         const std::int64_t spaces = indent == nullptr ? -1 : g.whole(0, "indent", -1);
         if (spaces > 16) fail("tojson: an indent of more than 16");
         return v.json(static_cast<int>(std::max<std::int64_t>(spaces, -1)));
       }},
      {"length", [](const Value& v, Given&) -> Value { return length(v); }},
      {"count", [](const Value& v, Given&) -> Value { return length(v); }},
      {"upper", [](const Value& v, Given&) -> Value { return mapped(v.str(), true); }},
      {"lower", [](const Value& v, Given&) -> Value { return mapped(v.str(), false); }},
      {"title", [](const Value& v, Given&) -> Value { return titled(v.str()); }},
      {"capitalize", [](const Value& v, Given&) -> Value { return capitalized(v.str()); }},
      {"string", [](const Value& v, Given&) -> Value { return v.str(); }},
      {"safe", [](const Value& v, Given&) -> Value { return v; }},
      {"e", [](const Value& v, Given&) -> Value { return escaped(v.str()); }},
      {"escape", [](const Value& v, Given&) -> Value { return escaped(v.str()); }},
      {"list", [](const Value& v, Given&) -> Value { return Value::list(iterate(v)); }},
      {"int",
       [](const Value& v, Given& g) -> Value { return to_whole(v, g.whole(0, "default", 0)); }},
      {"float", [](const Value& v, Given&) -> Value { return to_real(v, 0); }},
      {"abs",
       [](const Value& v, Given&) -> Value {
         if (v.is_whole() && v.whole() != INT64_MIN) return std::abs(v.whole());
         if (!v.is_number()) fail(concat("abs: a ", v.type_name(), " is no number"));
         return std::abs(v.number());
       }},
      {"round",
       [](const Value& v, Given& g) -> Value {
         return round_number(v, g.whole(0, "precision", 0), g.text(1, "method", "common"));
       }},
      {"replace",
       [](const Value& v, Given& g) -> Value {
         return replaced(v.str(), g.text(0, "old"), g.text(1, "new"), g.whole(2, "count", -1));
       }},
      {"join",
       [](const Value& v, Given& g) -> Value {
         const std::string separator = g.text(0, "d", ""), by = g.text(1, "attribute", "");
         Items items = iterate(v);
         if (!by.empty())
           for (Value& each : items) each = path(each, by);
         return joined(items, separator);
       }},
      {"first",
       [](const Value& v, Given&) -> Value {
         const Items items = iterate(v);
         return items.empty() ? Value(Undefined{"the first of nothing"}) : items.front();
       }},
      {"last",
       [](const Value& v, Given&) -> Value {
         const Items items = iterate(v);
         return items.empty() ? Value(Undefined{"the last of nothing"}) : items.back();
       }},
      {"default",
       [](const Value& v, Given& g) -> Value {
         const Value* otherwise = g.find(0, "default_value");
         const bool falsy = g.flag(1, "boolean", false);
         return v.is<Undefined>() || (falsy && !v.truthy())
                    ? otherwise == nullptr ? Value("") : *otherwise
                    : v;
       }},
      {"items",
       [](const Value& v, Given&) -> Value {
         if (v.is<Undefined>()) return Value::list({});
         if (!v.is_dict()) fail(concat("items: a ", v.type_name(), " is no dict"));
         return items_of(v.entries());
       }},
      {"dictsort",
       [](const Value& v, Given& g) -> Value {
         const bool exact = g.flag(0, "case_sensitive", false);
         const std::string by = g.text(1, "by", "key");
         const bool reverse = g.flag(2, "reverse", false);
         if (!v.is_dict()) fail(concat("dictsort: a ", v.type_name(), " is no dict"));
         return sorted(items_of(v.entries()).items(), by == "value" ? "1" : "0", reverse, exact);
       }},
      {"sort",
       [](const Value& v, Given& g) -> Value {
         const bool reverse = g.flag(0, "reverse", false),
                    exact = g.flag(1, "case_sensitive", false);
         return sorted(iterate(v), g.text(2, "attribute", ""), reverse, exact);
       }},
      {"reverse", [](const Value& v, Given&) -> Value { return reversed(v); }},
      {"unique", [](const Value& v, Given&) -> Value { return unique(v); }},
      {"min", [](const Value& v, Given&) -> Value { return extreme(v, false); }},
      {"max", [](const Value& v, Given&) -> Value { return extreme(v, true); }},
      {"indent",
       [](const Value& v, Given& g) -> Value {
         const Value* width = g.find(0, "width");
         std::string by(4, ' ');
         if (width != nullptr && width->is<std::string>())
           by = width->text();
         else if (width != nullptr)
           by = std::string(
               static_cast<std::size_t>(std::clamp<std::int64_t>(g.whole(0, "width", 4), 0, 1000)),
               ' ');
         const bool first = g.flag(1, "first", false);
         return indented(v.str(), by, first, g.flag(2, "blank", false));
       }},
  };
  return kFilters;
}

using Test = bool (*)(const Value& value, Given& given);
const std::map<std::string, Test>& tests() {
  static const Test equal = [](const Value& v, Given& g) { return v.equals(g.need(0, "other")); };
  static const Test unequal = [](const Value& v, Given& g) {
    return !v.equals(g.need(0, "other"));
  };
  static const auto remainder = [](const Value& v, std::int64_t by) {
    if (!v.is_whole()) fail(concat("a ", v.type_name(), " is no integer"));
    if (by == 0) fail("a division by 0");
    return by == -1 ? std::int64_t{0} : v.whole() % by;
  };
  static const std::map<std::string, Test> kTests = {
      {"defined", [](const Value& v, Given&) { return !v.is<Undefined>(); }},
      {"undefined", [](const Value& v, Given&) { return v.is<Undefined>(); }},
      {"none", [](const Value& v, Given&) { return v.is<None>(); }},
      {"string", [](const Value& v, Given&) { return v.is<std::string>(); }},
      {"number", [](const Value& v, Given&) { return v.is_number(); }},
      {"integer", [](const Value& v, Given&) { return v.is<std::int64_t>(); }},
      {"float", [](const Value& v, Given&) { return v.is<double>(); }},
      {"boolean", [](const Value& v, Given&) { return v.is<bool>(); }},
      {"true", [](const Value& v, Given&) { return v.is<bool>() && v.truthy(); }},
      {"false", [](const Value& v, Given&) { return v.is<bool>() && !v.truthy(); }},
      {"mapping", [](const Value& v, Given&) { return v.is_dict(); }},
      {"sequence",
       [](const Value& v, Given&) { return v.is_list() || v.is_dict() || v.is<std::string>(); }},
      {"iterable",
       [](const Value& v, Given&) {
         return v.is_list() || v.is_dict() || v.is<std::string>() || v.is<Undefined>();
       }},
      {"callable", [](const Value& v, Given&) { return v.is_function(); }},
      {"lower", [](const Value& v, Given&) { return v.str() == mapped(v.str(), false); }},
      {"upper", [](const Value& v, Given&) { return v.str() == mapped(v.str(), true); }},
      {"odd", [](const Value& v, Given&) { return remainder(v, 2) != 0; }},
      {"even", [](const Value& v, Given&) { return remainder(v, 2) == 0; }},
      {"divisibleby",
       [](const Value& v, Given& g) { return remainder(v, g.whole(0, "num", 0)) == 0; }},
      {"in", [](const Value& v, Given& g) { return compare("in", v, g.need(0, "seq")); }},
      {"eq", equal},
      {"equalto", equal},
      {"==", equal},
      {"sameas", equal},
      {"ne", unequal},
      {"!=", unequal},
      {"lt", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) < 0; }},
      {"lessthan", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) < 0; }},
      {"<", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) < 0; }},
      {"le", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) <= 0; }},
      {"<=", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) <= 0; }},
      {"gt", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) > 0; }},
      {"greaterthan", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) > 0; }},
      {">", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) > 0; }},
      {"ge", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) >= 0; }},
      {">=", [](const Value& v, Given& g) { return order(v, g.need(0, "other")) >= 0; }},
  };
  return kTests;
}

}  // namespace

Value filter(const std::string& given_name, const Value& value, Arguments& arguments,
             Budget& budget) {
  const std::string name = given_name == "d" ? "default" : given_name;
  budget.spend(value.is<std::string>() ? value.text().size()
               : value.is_list()       ? 64 * value.items().size()
                                       : 0);
  // Each item is compared with those before it.
  if (name == "unique" && value.is_list())
    budget.spend(value.items().size() * value.items().size());
  budget.spend(value.size());
  if (name == "map") return mapped_items(value, arguments, budget);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return selected(name, value, arguments);
  if (name == "sum") {
    Given given(name, arguments);
    const std::string by = given.text(0, "attribute", "");
    Value total = std::int64_t{0};
    for (const Value& each : iterate(value))
      total = binary("+", total, by.empty() ? each : path(each, by), budget);
    return total;
  }
  const auto found = plain_filters().find(name);
  if (found == plain_filters().end()) fail("the filter '" + name + "' is unknown");
  Given given(name, arguments);
  Value result = found->second(value, given);
  given.done();
  if (result.is<std::string>()) budget.spend(result.text().size());
  return result;
}

bool test(const std::string& name, const Value& value, Arguments& arguments) {
  const auto found = tests().find(name);
  if (found == tests().end()) fail("the test '" + name + "' is unknown");
  Given given(name, arguments);
  const bool holds = found->second(value, given);
  given.done();
  return holds;
}

}  // namespace mote::text::jinja
