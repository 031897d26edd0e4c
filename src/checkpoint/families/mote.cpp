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

// What version 1 did not know gets the value that its models had: the file is complete.
Json completed(Json table) {
  if (!table.contains("positions")) table["positions"] = "none";
  table["tied"] = false;
  table["rules"] = Json::array();
  return table;
}

// Adds the keys of `defaults` that came after `old`.
void add_later_keys(Json& table, const Json& defaults, const std::vector<std::string>& old) {
  for (const auto& [key, value] : defaults.items())
    if (std::find(old.begin(), old.end(), key) == old.end() && !table.contains(key))
      table[key] = value;
}

// The table or list `key` of a table; null: it has none.
Json* part_of(Json& table, const char* key) {
  const auto found = table.find(key);
  return found != table.end() && (found->is_object() || found->is_array()) ? &*found : nullptr;
}

// The model's mixture; null: it is of another kind.
Json* mixture_of(Json& model) {
  Json* layer = part_of(model, "feed_forward");
  return layer && layer->is_object() && kind_of(*layer, "") == Mixture::kKind ? layer : nullptr;
}
Json* router_of(Json& mixture) {
  Json* router = part_of(mixture, "router");
  return router && router->is_object() ? router : nullptr;
}

// A mixture of before version 3 is sigma-MoE.
void complete_mixture(Json& mixture) {
  const Json defaults = to_json(Mixture{});
  add_later_keys(mixture, defaults, {"experts", "expert_width", "router"});
  if (Json* router = router_of(mixture))
    add_later_keys(*router, defaults["router"],
                   {"experts_per_token", "expert_dropout", "entropy_weight"});
}

// Before version 5 a mixture's experts had two matrices and units of relu.
void complete_experts(Json& mixture) {
  const Json defaults = to_json(Mixture{});
  add_later_keys(mixture, defaults,
                 {"experts", "expert_width", "router", "key_rank", "hidden_dropout", "init"});
  Json* router = router_of(mixture);
  if (!router) return;
  for (const char* key : {"selection_bias", "gate_scale"})
    if (!router->contains(key)) (*router)[key] = defaults["router"][key];
}

// Before version 6 Switch's loss was of a batch.
void complete_switch_losses(Json& mixture) {
  Json* router = router_of(mixture);
  Json* losses = router ? part_of(*router, "balance") : nullptr;
  if (!losses || !losses->is_array()) return;
  for (Json& loss : *losses)
    if (loss.is_object() && kind_of(loss, "") == SwitchLoss::kKind)
      add_later_keys(loss, to_json(SwitchLoss{}), {"weight", "scale"});
}

// Before version 4 norms were layer norms, dense layers had biases and units of relu.
void complete_norms(Json& model) {
  const Json defaults = to_json(ModelConfig{});
  for (const char* key : {"norms", "embedding_scale"})
    if (!model.contains(key)) model[key] = defaults[key];
  const auto layer = model.find("feed_forward");
  if (layer != model.end() && layer->is_object() && kind_of(*layer, "") == Dense::kKind)
    add_later_keys(*layer, to_json(Dense{}), {"width"});
}

StoredTensor in_version_1(const std::string& parameter, std::int64_t head_dim) {
  for (const auto& [kind, part] : {std::pair{"k", 0}, std::pair{"v", 1}})
    for (const char* what : {".weight", ".bias"}) {
      const std::string end = concat(".attention.", kind, what);
      if (!parameter.ends_with(end)) continue;
      return {concat(parameter.substr(0, parameter.size() - end.size()), ".attention.kv", what),
              {head_dim, part, 2}};
    }
  return {parameter};
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

FamilyModel read_mote(Json json, const std::string& file) {
  const auto version = json.find("format_version");
  if (version != json.end() && (!version->is_number_integer() || *version > kMoteVersion))
    throw Error(ErrorKind::unsupported,
                concat(file, ": format_version is ", quoted(*version),
                       ", this program reads up to ", kMoteVersion, "; use a newer one"))
        .in(file)
        .at("format_version");
  const std::int64_t found = version == json.end() ? 1 : version->get<std::int64_t>();
  const bool first_version = found <= 1;
  for (const char* key : {"architectures", "model_type", "torch_dtype", "format_version"})
    json.erase(key);
  if (first_version) json = completed(upgraded_model_table(std::move(json)));
  if (Json* mixture = mixture_of(json)) {
    if (found < 3) complete_mixture(*mixture);
    if (found < 5) complete_experts(*mixture);
    if (found < 6) complete_switch_losses(*mixture);
  }
  if (found < 4) complete_norms(json);
  if (found < 5) {
    add_later_keys(json, {{"residual_scale", 1.0}}, {});
    if (const auto head = json.find("head"); head != json.end() && head->is_object())
      add_later_keys(*head, to_json(HeadConfig{}), {"bias"});
  }
  if (found < 6) add_later_keys(json, {{"encoder", to_json(EncoderConfig{})}}, {});
  FamilyModel model;
  model.config = read_config<ModelConfig>(json, file);
  check_complete<ModelConfig>(json, {file, ""});
  validate(model.config, {file, ""});
  const std::int64_t head_dim = first_version ? head_dim_of(model.config.attention) : 0;
  model.stored = [head_dim](const std::string& parameter) {
    return head_dim ? in_version_1(parameter, head_dim) : StoredTensor{parameter};
  };
  return model;
}

Json write_mote(const ModelConfig& config) {
  Json json = {{"architectures", {"MoteForCausalLM"}},
               {"model_type", "mote"},
               {"torch_dtype", "float32"},
               {"format_version", kMoteVersion}};
  json.update(to_json(config));
  return json;
}

}  // namespace mote::checkpoint
