// mote's own checkpoints: config.json and the names of tensors, of this version and those before.
//
// Version 6 (`format_version` in config.json, `version` in recipes) has the fields of ModelConfig.
// Version 5 lacks `encoder`, and of the loss `switch` `over` and `dropped_as_first`.
// Version 4 lacks besides `residual_scale`, `head.scale` and what a mixture got since: `activation`, `gated`, `bias`, `unit`, `shared`, of its
// router `selection_bias` and `gate_scale`, of the loss `switch` `of_all_layers`.
// Version 3 lacks besides `norms`, `embedding_scale` and what a dense layer got since: `activation`, `gated`,
// `bias`.
// Version 2 lacks besides what a mixture had in version 4: the axes of its router, `key_rank`, `hidden_dropout`,
// `init`.
// Version 1, which does not say its number, had one flat table per layer part with fields for every
// kind, and one matrix `kv` for keys and values: per head first its rows of keys, then those of
// values.
#pragma once

#include "checkpoint/family.h"

namespace mote::checkpoint {

inline constexpr std::int64_t kMoteVersion = 6;

FamilyModel read_mote(Json json, const std::string& file);
// config.json of a model, without its quantization_config.
Json write_mote(const ModelConfig& config);

// A version-1 table of model settings as one of today:
//   head_bias -> head.bias
//   attention.kind absolute -> causal, with positions = learned; fields that a kind did not read go
//   feed_forward.kind sigma_moe -> mixture, its router's fields into a table of their own
// What is spelled as today already stays.
Json upgraded_model_table(Json table);
}  // namespace mote::checkpoint
