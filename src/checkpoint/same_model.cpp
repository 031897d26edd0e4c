#include "checkpoint/same_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/json_text.h"

namespace mote::checkpoint {
namespace {

// Of sequences of one position and of as many as there can be: two tables for the scaling `long`.
Json frequencies(const RotaryConfig& rotary, std::int64_t head_dim, std::int64_t context) {
  Json all = Json::object();
  for (const auto& [name, positions] :
       {std::pair{"first", std::int64_t{1}}, std::pair{"last", context}}) {
    const RotaryFrequencies found = rotary_frequencies(rotary, head_dim, positions);
    all[name] = {{"frequencies", found.of_pair}, {"factor", found.factor}};
  }
  return all;
}

// What layers compute, without what is not compared.
Json essence(const ModelConfig& config, std::int64_t i) {
  LayerConfig layer = layer_config(config, i);
  layer.dropout = 0;
  layer.norms.weight_offset = 0;
  Json rotary;
  if (auto* attention = layer.attention.get_if<Rotary>()) {
    if (attention->window >= config.context) attention->window = 0;
    const double plain = 1 / std::sqrt(static_cast<double>(attention->head_dim));
    if (attention->scale == 0) attention->scale = plain;
    if (attention->head_norm != HeadNorm::none) attention->scale = 0;
    rotary = frequencies(attention->rotary, attention->head_dim, config.context);
    attention->rotary = {};
  } else if (auto* latent = layer.attention.get_if<Latent>()) {
    if (latent->scale == 0) latent->scale = 1 / std::sqrt(static_cast<double>(latent->head_dim));
    rotary = frequencies(latent->rotary, latent->rope_dim, config.context);
    latent->rotary = {};
  }
  if (auto* mixture = layer.feed_forward.get_if<Mixture>()) {
    mixture->init = {};
    mixture->hidden_dropout = 0;
    RouterConfig& router = mixture->router;
    router.expert_dropout = router.entropy_weight = 0;
    router.noise = {};
    router.balance.clear();
    if (auto* linear = router.score.get_if<LinearScore>()) linear->equal_rows = true;
    if (const auto* factor = router.capacity.get_if<CapacityFactor>(); factor && !factor->elsewhere)
      router.capacity = {};
    if (const auto* count = router.capacity.get_if<CapacityCount>(); count && !count->elsewhere)
      router.capacity = {};
  }
  Json json = to_json(layer);
  if (!rotary.is_null()) json["attention"]["rotary"] = std::move(rotary);
  return json;
}

// What belongs to no layer.
Json essence(const ModelConfig& config) {
  ModelConfig whole = config;
  whole.dropout = 0;
  whole.norms.weight_offset = 0;
  whole.rules.clear();
  Json json = to_json(whole);
  for (const char* of_layers : {"attention", "feed_forward", "rules", "residual_scale"})
    json.erase(of_layers);
  return json;
}

bool nearly(double a, double b) {
  return std::abs(a - b) <= std::ldexp(std::max(std::abs(a), std::abs(b)), -20);
}

std::string difference(const Json& a, const Json& b, const std::string& name) {
  if (a.is_number() && b.is_number() && nearly(a.get<double>(), b.get<double>())) return "";
  if (a.is_object() && b.is_object() && a.size() == b.size()) {
    for (const auto& [key, value] : a.items()) {
      const std::string inner = name.empty() ? key : concat(name, ".", key);
      if (!b.contains(key)) return concat(name, ".kind differs: only one has ", inner);
      if (std::string found = difference(value, b.at(key), inner); !found.empty()) return found;
    }
    return "";
  }
  if (a.is_array() && b.is_array() && a.size() == b.size()) {
    for (std::size_t i = 0; i < a.size(); ++i)
      if (std::string found = difference(a[i], b[i], concat(name, ".", i)); !found.empty())
        return found;
    return "";
  }
  return a == b ? "" : concat(name, " is ", json_text(a), " and ", json_text(b));
}

}  // namespace

std::string difference(const ModelConfig& a, const ModelConfig& b) {
  if (std::string found = difference(essence(a), essence(b), ""); !found.empty()) return found;
  for (std::int64_t i = 0; i < a.layers; ++i)
    if (std::string found = difference(essence(a, i), essence(b, i), ""); !found.empty())
      return concat("layer ", i, ": ", found);
  return "";
}

}  // namespace mote::checkpoint
