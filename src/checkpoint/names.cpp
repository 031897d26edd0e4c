#include "checkpoint/names.h"

#include <charconv>
#include <optional>
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

std::int64_t number_after(std::string_view prefix, std::string_view name) {
  std::int64_t number = -1;
  if (name.starts_with(prefix))
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  return number;
}

std::string name_of_expert(const std::string& name, std::int64_t expert) {
  const std::size_t star = name.find('*');
  return name.substr(0, star) + std::to_string(expert) + name.substr(star + 1);
}

bool has_experts(const std::string& name) {
  return name.find('*') != std::string::npos;
}

StoredTensor stored_by(std::span<const NameRule> rules, const std::string& ours,
                       const std::function<bool(const std::string&)>& is_there) {
  StoredTensor first;
  for (const NameRule& rule : rules) {
    const auto numbers = numbers_in(ours, rule.ours);
    if (!numbers) continue;
    StoredTensor stored{filled(rule.theirs, *numbers), rule.layout};
    std::string probe = has_experts(stored.name) ? name_of_expert(stored.name, 0) : stored.name;
    if (rule.layout.mxfp4) probe += "_blocks";
    if (is_there(probe)) return stored;
    if (first.name.empty()) first = std::move(stored);
  }
  return first;
}

}  // namespace mote::checkpoint
