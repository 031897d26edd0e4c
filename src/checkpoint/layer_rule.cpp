#include "checkpoint/layer_rule.h"

#include <charconv>

namespace mote::checkpoint {
namespace {

// A whole number from 0; -1 for any other text.
std::int64_t number_in(std::string_view text) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

// first, first + step, ... up to last.
struct Steps {
  std::int64_t first = 0, last = 0, step = 1;
};

// False where the text is spelled otherwise.
bool parse(const std::string& text, std::int64_t layers, Steps& steps) {
  if (text == "middle") {
    steps.first = steps.last = (layers - 1) / 2;
    return true;
  }
  if (const std::size_t dash = text.find('-'); dash != std::string::npos) {
    steps.first = number_in(text.substr(0, dash)), steps.last = number_in(text.substr(dash + 1));
    return steps.first >= 0 && steps.last >= steps.first;
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) {
    steps.first = steps.last = number_in(text);
    return steps.first >= 0;
  }
  const std::size_t second = text.find(':', colon + 1);
  const auto part = [&](std::size_t begin, std::size_t end, std::int64_t otherwise) {
    return begin >= text.size() || end == begin ? otherwise
                                                : number_in(text.substr(begin, end - begin));
  };
  steps.first = part(0, colon, 0);
  const std::int64_t stop = part(colon + 1, std::min(second, text.size()), layers);
  steps.last = stop - 1;
  steps.step = second == std::string::npos ? 1 : part(second + 1, text.size(), 1);
  return steps.first >= 0 && stop > steps.first && steps.step > 0;
}

}  // namespace

void LayerSelection::read(const Json& json, const Place& place) {
  const bool list = json.is_array() && !json.empty();
  bool numbers = list;
  if (list)
    for (const Json& item : json) numbers = numbers && item.is_number_integer() && item >= 0;
  Steps unused;
  const bool text = json.is_string() && parse(json.get<std::string>(), 1 << 20, unused);
  if (!numbers && !text && !(json.is_number_integer() && json >= 0))
    throw_config_error(
        place, concat("is ", quoted(json), "; say 3, \"3-7\", \"1::2\", \"middle\" or [0, 4, 9]"));
  spelled_ = json;
}

std::vector<std::int64_t> LayerSelection::of(std::int64_t layers, const Place& place) const {
  std::vector<std::int64_t> chosen;
  if (spelled_.is_string()) {
    Steps steps;
    parse(spelled_.get<std::string>(), layers, steps);
    for (std::int64_t i = steps.first; i <= steps.last; i += steps.step) {
      chosen.push_back(i);
      if (i >= layers) break;  // refused below
    }
  } else if (spelled_.is_array()) {
    for (const Json& item : spelled_) chosen.push_back(item.get<std::int64_t>());
  } else {
    chosen.push_back(spelled_.get<std::int64_t>());
  }
  for (const std::int64_t i : chosen)
    if (i >= layers)
      throw_config_error(place, concat("is ", spelled_.dump(), ", which names layer ", i,
                                       "; the model has layers 0 to ", layers - 1));
  if (chosen.empty())
    throw_config_error(place,
                       concat("is ", spelled_.dump(), ", which is none of ", layers, " layers"));
  return chosen;
}

void LayerRule::read(const Json& json, const Place& place) {
  if (!json.is_object()) throw_wrong_type(place, "a table", json);
  const auto found = json.find("layers");
  if (found == json.end())
    throw_config_error(place.inside("layers"), "is missing; say which layers the rule is for");
  layers.read(*found, place.inside("layers"));
  changes = json;
  changes.erase("layers");
  if (changes.empty()) throw_config_error(place, "changes nothing; give a setting of the layers");
}

LayerRule rule_from(const Json& table, const std::string& file) {
  LayerRule rule;
  rule.read(table, {file, ""});
  return rule;
}

Json LayerRule::write() const {
  Json json = {{"layers", layers.write()}};
  json.update(changes);
  return json;
}

}  // namespace mote::checkpoint
