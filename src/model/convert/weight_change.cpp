#include "model/convert/weight_change.h"

#include <cmath>

#include "checkpoint/names.h"

namespace mote::model {
namespace {

using checkpoint::HeadNorm;
using checkpoint::Rotary;
using checkpoint::RotaryPairs;

double scale_of(const Rotary& attention) {
  return attention.scale != 0 ? attention.scale
                              : 1 / std::sqrt(static_cast<double>(attention.head_dim));
}

// Rows of `heads` heads so that what was a pair is one again.
std::vector<std::int64_t> order_of_pairs(const Rotary& from, RotaryPairs to, std::int64_t heads) {
  const std::int64_t width = from.head_dim,
                     half = (from.rotary.dim > 0 ? from.rotary.dim : width) / 2;
  std::vector<std::int64_t> order;
  for (std::int64_t h = 0; h < heads; ++h)
    for (std::int64_t i = 0; i < width; ++i) {
      std::int64_t old = i;
      if (i < 2 * half)
        old = to == RotaryPairs::adjacent ? i % 2 * half + i / 2 : i % half * 2 + i / half;
      order.push_back(h * width + old);
    }
  return order;
}

}  // namespace

WeightChange weight_change(const std::string& parameter, const checkpoint::ModelConfig& from,
                           const checkpoint::ModelConfig& to) {
  WeightChange change;
  const auto ends = [&](const char* suffix) { return parameter.ends_with(suffix); };
  if (ends("norm.weight"))
    change.before = from.norms.weight_offset, change.after = to.norms.weight_offset;
  const std::int64_t layer = checkpoint::number_after("blocks.", parameter);
  if (layer < 0) return change;
  const checkpoint::LayerConfig old_layer = layer_config(from, layer),
                                new_layer = layer_config(to, layer);
  const auto *before = old_layer.attention.get_if<Rotary>(),
             *after = new_layer.attention.get_if<Rotary>();
  if (!before || !after) return change;
  if (before->head_norm != HeadNorm::none && ends(".attention.q_norm.weight") &&
      scale_of(*before) != scale_of(*after))
    change.times = scale_of(*before) / scale_of(*after);
  if (before->rotary.pairs == after->rotary.pairs) return change;
  const bool of_head = before->head_norm == HeadNorm::head;
  const auto order = [&](const char* part, std::int64_t heads) {
    const std::string name = std::string(".attention.") + part;
    if (ends((name + ".weight").c_str()) || ends((name + ".bias").c_str()))
      change.order = order_of_pairs(*before, after->rotary.pairs, heads);
    if (ends((name + "_norm.weight").c_str()))
      change.order = order_of_pairs(*before, after->rotary.pairs, of_head ? 1 : heads);
  };
  order("q", before->heads);
  order("k", before->key_heads);
  return change;
}

}  // namespace mote::model
