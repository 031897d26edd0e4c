#include "checkpoint/names.h"

#include <optional>
#include <string_view>
#include <vector>

namespace mote::checkpoint {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The numbers that stand where `pattern` has its #; nothing where the name is another.
std::optional<std::vector<std::string_view>> numbers_in(std::string_view name,
                                                        std::string_view pattern) {
  std::vector<std::string_view> numbers;
  std::size_t at = 0;
  for (const char c : pattern) {
    if (c != '#') {
      if (at == name.size() || name[at++] != c) return std::nullopt;
      continue;
    }
    const std::size_t first = at;
    while (at < name.size() && is_digit(name[at])) ++at;
    if (at == first) return std::nullopt;
    numbers.push_back(name.substr(first, at - first));
  }
  if (at != name.size()) return std::nullopt;
  return numbers;
}

std::string filled(std::string_view pattern, const std::vector<std::string_view>& numbers) {
  std::string name;
  std::size_t next = 0;
  for (const char c : pattern)
    if (c == '#')
      name += numbers[next++];
    else
      name += c;
  return name;
}

}  // namespace

std::string their_name(std::span<const NameRule> rules, const std::string& ours) {
  for (const NameRule& rule : rules)
    if (const auto numbers = numbers_in(ours, rule.ours)) return filled(rule.theirs, *numbers);
  return "";
}

std::string our_name(std::span<const NameRule> rules, const std::string& theirs) {
  for (const NameRule& rule : rules)
    if (const auto numbers = numbers_in(theirs, rule.theirs)) return filled(rule.ours, *numbers);
  return "";
}

}  // namespace mote::checkpoint
