#include "text/jinja/builtins.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <map>

#include "base/check.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace mote::text::jinja {
namespace {

constexpr std::size_t kMostItems = 1'000'000;
constexpr std::int64_t kMostRange = 100'000;

[[noreturn]] void fail(const std::string& what) {
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

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> list;
  while (!text.empty()) {
    list.push_back(text.substr(0, first_sequence(text).length));
    text.remove_prefix(list.back().size());
  }
  return list;
}

std::int64_t length(const Value& value) {
  if (value.is<std::string>()) return static_cast<std::int64_t>(characters(value.text()).size());
  if (value.is_list()) return static_cast<std::int64_t>(value.items().size());
  if (value.is_dict()) return static_cast<std::int64_t>(value.entries().entries.size());
  if (value.is<Undefined>()) return 0;
  fail(concat("a value of type ", value.type_name(), " has no length"));
}

std::string mapped(const std::string& text, bool upper) {
  if (!upper) return lowercase(text);
  std::string result;
  for (const std::string_view c : characters(text)) append_upper(result, first_code_point(c));
  return result;
}

std::string capitalized(const std::string& text) {
  const auto list = characters(text);
  std::string result;
  for (std::size_t i = 0; i < list.size(); ++i) result += mapped(std::string(list[i]), i == 0);
  return result;
}

std::string titled(const std::string& text) {
  std::string result;
  bool start = true;
  for (const std::string_view c : characters(text)) {
    result += mapped(std::string(c), start);
    const std::uint32_t code = first_code_point(c);
    start = !is_word(code) && code != '\'';
  }
  return result;
}

// What strip() drops.
bool is_space(std::uint32_t code) {
  return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
}

enum class Side { both, left, right };
std::string stripped(const std::string& text, const std::string* set, Side side) {
  const auto drops = [&](std::string_view c) {
    return set == nullptr ? is_space(first_code_point(c)) : set->find(c) != std::string::npos;
  };
  const auto list = characters(text);
  std::size_t begin = 0, end = list.size();
  while (side != Side::right && begin < end && drops(list[begin])) ++begin;
  while (side != Side::left && end > begin && drops(list[end - 1])) --end;
  if (begin == end) return {};
  const char* const first = list[begin].data();
  return {first, static_cast<std::size_t>(list[end - 1].data() + list[end - 1].size() - first)};
}

Value split(const std::string& text, const std::string* separator, std::int64_t most, bool right) {
  Items parts;
  const auto more = [&] { return most < 0 || static_cast<std::int64_t>(parts.size()) < most; };
  if (separator == nullptr) {
    std::string_view rest = text;
    const auto skip_spaces = [&] {
      while (!rest.empty() && is_space(first_code_point(rest)))
        rest.remove_prefix(first_sequence(rest).length);
    };
    for (skip_spaces(); !rest.empty(); skip_spaces()) {
      std::size_t end = 0;
      while (end < rest.size() && !is_white_space(first_code_point(rest.substr(end))))
        end += first_sequence(rest.substr(end)).length;
      if (!more()) end = rest.size();
      parts.emplace_back(std::string(rest.substr(0, end)));
      rest.remove_prefix(end);
    }
    return Value::list(std::move(parts));
  }
  if (separator->empty()) fail("split: the separator is empty");
  if (right) {
    std::size_t end = text.size();
    while (more()) {
      const std::size_t at = end < separator->size()
                                 ? std::string::npos
                                 : text.rfind(*separator, end - separator->size());
      if (at == std::string::npos) break;
      parts.emplace_back(text.substr(at + separator->size(), end - at - separator->size()));
      end = at;
    }
    parts.emplace_back(text.substr(0, end));
    std::reverse(parts.begin(), parts.end());
    return Value::list(std::move(parts));
  }
  std::size_t begin = 0;
  for (std::size_t at; more() && (at = text.find(*separator, begin)) != std::string::npos;
       begin = at + separator->size())
    parts.emplace_back(text.substr(begin, at - begin));
  parts.emplace_back(text.substr(begin));
  return Value::list(std::move(parts));
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to,
                     std::int64_t most) {
  if (from.empty()) fail("replace: what is replaced is empty");
  std::string result;
  std::size_t begin = 0;
  for (std::size_t at; most != 0 && (at = text.find(from, begin)) != std::string::npos; --most) {
    result.append(text, begin, at - begin).append(to);
    if (result.size() > Budget::kMostBytes) fail("replace makes too long a text");
    begin = at + from.size();
  }
  return result.append(text, begin, std::string::npos);
}

bool begins_or_ends(const std::string& text, const Value& with, bool begins) {
  if (with.is_list())
    return std::any_of(with.items().begin(), with.items().end(),
                       [&](const Value& each) { return begins_or_ends(text, each, begins); });
  if (!with.is<std::string>())
    fail(concat(begins ? "startswith" : "endswith", " needs a string, not a ", with.type_name()));
  return begins ? text.starts_with(with.text()) : text.ends_with(with.text());
}

std::int64_t found_at(const std::string& text, const std::string& part) {
  const std::size_t at = text.find(part);
  if (at == std::string::npos) return -1;
  return static_cast<std::int64_t>(characters(std::string_view(text).substr(0, at)).size());
}

std::int64_t count_of(const std::string& text, const std::string& part) {
  if (part.empty()) fail("count: what is counted is empty");
  std::int64_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++count;
  return count;
}

Value lines_of(const std::string& text) {
  Items lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return Value::list(std::move(lines));
}

std::string joined(const Items& items, const std::string& separator) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    text += (i > 0 ? separator : "") + items[i].str();
    if (text.size() > Budget::kMostBytes) fail("join makes too long a text");
  }
  return text;
}

bool all_of_class(const std::string& text, char least, char most) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [&](char c) { return c >= least && c <= most; });
}

using TextMethod = Value (*)(const std::string& text, Given& given);
const std::map<std::string, TextMethod>& text_methods() {
  static const auto strip = [](const std::string& text, Given& given, Side side) -> Value {
    const Value* set = given.find(0, "chars");
    if (set == nullptr || set->is<None>()) return stripped(text, nullptr, side);
    const std::string chars = given.text(0, "chars");
    return stripped(text, &chars, side);
  };
  static const auto cut = [](const std::string& text, Given& given, bool right) -> Value {
    const Value* separator = given.find(0, "sep");
    const std::int64_t most = given.whole(1, "maxsplit", -1);
    if (separator == nullptr || separator->is<None>()) return split(text, nullptr, most, right);
    const std::string sign = given.text(0, "sep");
    return split(text, &sign, most, right);
  };
  static const std::map<std::string, TextMethod> kMethods = {
      {"strip", [](const std::string& t, Given& g) { return strip(t, g, Side::both); }},
      {"lstrip", [](const std::string& t, Given& g) { return strip(t, g, Side::left); }},
      {"rstrip", [](const std::string& t, Given& g) { return strip(t, g, Side::right); }},
      {"split", [](const std::string& t, Given& g) { return cut(t, g, false); }},
      {"rsplit", [](const std::string& t, Given& g) { return cut(t, g, true); }},
      {"splitlines", [](const std::string& t, Given&) { return lines_of(t); }},
      {"startswith",
       [](const std::string& t, Given& g) -> Value {
         return begins_or_ends(t, g.need(0, "prefix"), true);
       }},
      {"endswith",
       [](const std::string& t, Given& g) -> Value {
         return begins_or_ends(t, g.need(0, "suffix"), false);
       }},
      {"upper", [](const std::string& t, Given&) -> Value { return mapped(t, true); }},
      {"lower", [](const std::string& t, Given&) -> Value { return mapped(t, false); }},
      {"title", [](const std::string& t, Given&) -> Value { return titled(t); }},
      {"capitalize", [](const std::string& t, Given&) -> Value { return capitalized(t); }},
      {"replace",
       [](const std::string& t, Given& g) -> Value {
         return replaced(t, g.text(0, "old"), g.text(1, "new"), g.whole(2, "count", -1));
       }},
      {"join",
       [](const std::string& t, Given& g) -> Value {
         return joined(iterate(g.need(0, "items")), t);
       }},
      {"find",
       [](const std::string& t, Given& g) -> Value { return found_at(t, g.text(0, "sub")); }},
      {"count",
       [](const std::string& t, Given& g) -> Value { return count_of(t, g.text(0, "sub")); }},
      {"removeprefix",
       [](const std::string& t, Given& g) -> Value {
         const std::string part = g.text(0, "prefix");
         return t.starts_with(part) ? t.substr(part.size()) : t;
       }},
      {"removesuffix",
       [](const std::string& t, Given& g) -> Value {
         const std::string part = g.text(0, "suffix");
         return t.ends_with(part) ? t.substr(0, t.size() - part.size()) : t;
       }},
      {"isdigit", [](const std::string& t, Given&) -> Value { return all_of_class(t, '0', '9'); }},
      {"isspace",
       [](const std::string& t, Given&) -> Value {
         return !t.empty() && stripped(t, nullptr, Side::both).empty();
       }},
  };
  return kMethods;
}

Value items_of(const Value::Dict& dict) {
  Items list;
  for (const auto& [key, value] : dict.entries) list.push_back(Value::list({Value(key), value}));
  return Value::list(std::move(list));
}
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

Value range(Arguments& arguments) {
  std::vector<std::int64_t> bounds;
  for (const Value& each : arguments.at) {
    if (!each.is_whole()) fail(concat("range needs integers, not a ", each.type_name()));
    bounds.push_back(each.whole());
  }
  if (bounds.empty() || bounds.size() > 3 || !arguments.named.empty())
    fail("range needs one to three integers");
  const std::int64_t begin = bounds.size() > 1 ? bounds[0] : 0;
  const std::int64_t end = bounds.size() > 1 ? bounds[1] : bounds[0];
  const std::int64_t step = bounds.size() > 2 ? bounds[2] : 1;
  if (step == 0) fail("range: the step is 0");
  Items items;
  for (std::int64_t at = begin; step > 0 ? at < end : at > end;) {
    if (static_cast<std::int64_t>(items.size()) == kMostRange)
      fail(concat("range has more than ", kMostRange, " items"));
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return Value::list(std::move(items));
}

Entries entries_from(Arguments& arguments, const char* what) {
  Entries entries;
  for (const Value& each : arguments.at) {
    if (!each.is_dict()) fail(concat(what, " needs a dict, not a ", each.type_name()));
    for (const auto& entry : each.entries().entries) entries.push_back(entry);
  }
  for (auto& entry : arguments.named) entries.push_back(std::move(entry));
  return entries;
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

std::string now_as(const std::string& format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::string text(1024, '\0');
  if (format.size() > 200) fail("strftime_now: the format is too long");
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
  return text;
}

}  // namespace

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

Entries functions() {
  return {
      {"range", Function(range)},
      {"namespace",
       Function([](Arguments& a) { return Value::make_namespace(entries_from(a, "namespace")); })},
      {"dict", Function([](Arguments& a) { return Value::dict(entries_from(a, "dict")); })},
      {"raise_exception", Function([](Arguments& a) -> Value {
         static const std::string what = "raise_exception";
         fail("the template refuses the conversation: " + Given(what, a).text(0, "message"));
       })},
      {"strftime_now", Function([](Arguments& a) -> Value {
         static const std::string what = "strftime_now";
         return now_as(Given(what, a).text(0, "format"));
       })},
  };
}

}  // namespace mote::text::jinja
