// Recipes: TOML on disk, Json in memory.
#pragma once

#include <string>

#include "base/fields.h"

namespace mote {

// `file` is used in messages only.
Json parse_toml(const std::string& text, const std::string& file);
Json read_toml(const std::string& path);
std::string to_toml(const Json& table);

// Sets `key.path=value` in `table`; the value is TOML (8, 1e-3, true, "text", [1, 2]) or, where
// that does not parse, text. Items of a list are reached by their number (rules.0.layers). Another
// "kind" starts its table afresh: the keys of the former kind go.
void set_override(Json& table, const std::string& assignment);

}  // namespace mote
