#include "checkpoint/families/mote.h"

namespace mote::checkpoint {
namespace {

// Removes a key that version 1 wrote though it meant nothing with that value.
void drop(Json& table, const char* key, const Json& meaningless) {
  const auto found = table.find(key);
  if (found != table.end() && *found == meaningless) table.erase(key);
}

// The kind that a table names: "" for what is no name.
std::string kind_of(const Json& table, const char* otherwise) {
  const auto kind = table.find("kind");
  if (kind == table.end()) return otherwise;
  return kind->is_string() ? kind->get<std::string>() : "";
}

void upgrade_attention(Json& model) {
  const auto found = model.find("attention");
  if (found == model.end() || !found->is_object()) return;
  Json& attention = *found;
  if (const std::string kind = kind_of(attention, "transformer_xl"); kind == "absolute") {
    attention["kind"] = "causal";
    drop(attention, "memory_blocks", 0);
    attention.erase("eval_memory_blocks");
    model["positions"] = "learned";
  } else if (kind == "transformer_xl") {
    drop(attention, "bias", false);
  }
}

void upgrade_feed_forward(Json& model) {
  const auto found = model.find("feed_forward");
  if (found == model.end() || !found->is_object()) return;
  Json& layer = *found;
  const std::string kind = kind_of(layer, "sigma_moe");
  if (kind == "dense") {
    for (const char* key :
         {"experts", "expert_width", "experts_per_token", "expert_dropout", "entropy_weight"})
      layer.erase(key);
    return;
  }
  if (kind != "sigma_moe") return;
  if (layer.contains("kind")) layer["kind"] = "mixture";
  layer.erase("width");
  for (const char* key : {"experts_per_token", "expert_dropout", "entropy_weight"})
    if (const auto value = layer.find(key); value != layer.end()) {
      Json moved = std::move(*value);
      layer.erase(key);
      layer["router"][key] = std::move(moved);
    }
}

}  // namespace

Json upgraded_model_table(Json table) {
  if (!table.is_object()) return table;
  if (const auto bias = table.find("head_bias"); bias != table.end()) {
    Json moved = std::move(*bias);
    table.erase("head_bias");
    table["head"]["bias"] = std::move(moved);
  }
  upgrade_attention(table);
  upgrade_feed_forward(table);
  return table;
}

Json upgraded_model_file(Json table) {
  table = upgraded_model_table(std::move(table));
  if (!table.contains("positions")) table["positions"] = "none";
  table["tied"] = false;
  table["rules"] = Json::array();
  return table;
}

}  // namespace mote::checkpoint
