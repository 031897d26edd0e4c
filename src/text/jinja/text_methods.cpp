#include "text/jinja/text_methods.h"

#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace mote::text::jinja {
namespace {

// What strip() drops.
bool is_space(std::uint32_t code) {
  return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
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
      while (end < rest.size() && !is_space(first_code_point(rest.substr(end))))
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

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> list;
  while (!text.empty()) {
    list.push_back(text.substr(0, first_sequence(text).length));
    text.remove_prefix(list.back().size());
  }
  return list;
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

}  // namespace mote::text::jinja
