#include "model/convert/weight_change.h"

#include <cmath>

#include "checkpoint/names.h"

namespace mote::model {
namespace {

using checkpoint::HeadNorm;
using checkpoint::Latent;
using checkpoint::Rotary;
using checkpoint::RotaryPairs;

double scale_of(const Rotary& attention) {
  return attention.scale != 0 ? attention.scale
                              : 1 / std::sqrt(static_cast<double>(attention.head_dim));
}

// Rows of `heads` heads of `width`, of which [first, first + turned) are pairs, so that what was a pair
// is one again.
std::vector<std::int64_t> order_of_pairs(RotaryPairs to, std::int64_t heads, std::int64_t width,
                                         std::int64_t first, std::int64_t turned) {
  const std::int64_t half = turned / 2;
  std::vector<std::int64_t> order;
  for (std::int64_t h = 0; h < heads; ++h)
    for (std::int64_t row = 0; row < width; ++row) {
      const std::int64_t i = row - first;
      std::int64_t old = i;
      if (i >= 0 && i < 2 * half)
        old = to == RotaryPairs::adjacent ? i % 2 * half + i / 2 : i % half * 2 + i / half;
      order.push_back(h * width + first + old);
    }
  return order;
}

bool is_of(const std::string& parameter, const std::string& part) {
  return parameter.ends_with(".attention." + part + ".weight") ||
         parameter.ends_with(".attention." + part + ".bias");
}

void change_latent(const std::string& parameter, const Latent& before, const Latent& after,
                   WeightChange& change) {
  if (before.rotary.pairs == after.rotary.pairs) return;
  const std::int64_t turned = before.rope_dim;
  if (is_of(parameter, before.q_rank > 0 ? "q_up" : "q"))
    change.order = order_of_pairs(after.rotary.pairs, before.heads, before.head_dim,
                                  before.head_dim - turned, turned);
  if (is_of(parameter, "kv_down"))
    change.order =
        order_of_pairs(after.rotary.pairs, 1, before.kv_rank + turned, before.kv_rank, turned);
}

void change_rotary(const std::string& parameter, const Rotary& before, const Rotary& after,
                   WeightChange& change) {
  if (before.head_norm != HeadNorm::none && parameter.ends_with(".attention.q_norm.weight") &&
      scale_of(before) != scale_of(after))
    change.times = scale_of(before) / scale_of(after);
  if (before.rotary.pairs == after.rotary.pairs) return;
  const std::int64_t width = before.head_dim,
                     turned = before.rotary.dim > 0 ? before.rotary.dim : width;
  const bool of_head = before.head_norm == HeadNorm::head;
  const auto order = [&](const std::string& part, std::int64_t heads) {
    if (is_of(parameter, part))
      change.order = order_of_pairs(after.rotary.pairs, heads, width, 0, turned);
    if (parameter.ends_with(".attention." + part + "_norm.weight"))
      change.order = order_of_pairs(after.rotary.pairs, of_head ? 1 : heads, width, 0, turned);
  };
  order("q", before.heads);
  order("k", before.key_heads);
}

}  // namespace

WeightChange weight_change(const std::string& parameter, const checkpoint::ModelConfig& from,
                           const checkpoint::ModelConfig& to) {
  WeightChange change;
  if (parameter.ends_with("norm.weight"))
    change.before = from.norms.weight_offset, change.after = to.norms.weight_offset;
  const std::int64_t layer = checkpoint::number_after("blocks.", parameter);
  if (layer < 0) return change;
  const checkpoint::LayerConfig old_layer = layer_config(from, layer),
                                new_layer = layer_config(to, layer);
  if (const auto* before = old_layer.attention.get_if<Latent>(),
      *after = new_layer.attention.get_if<Latent>();
      before && after)
    change_latent(parameter, *before, *after, change);
  if (const auto* before = old_layer.attention.get_if<Rotary>(),
      *after = new_layer.attention.get_if<Rotary>();
      before && after)
    change_rotary(parameter, *before, *after, change);
  return change;
}

}  // namespace mote::model
