// A config.json of Hugging Face's transformers, version 4 or 5, which knows what was asked of it: a
// field that nobody reads and no list ignores is an error by name.
//
// A null is an absent field.
#pragma once

#include <initializer_list>
#include <set>
#include <string>

#include "checkpoint/rotary_config.h"

namespace mote::checkpoint {

class HfConfig {
 public:
  HfConfig(Json json, std::string file);

  const std::string& file() const { return place_.file; }
  bool has(const std::string& key) const;
  // Throws a config error where the field is missing, without a fallback, or of another type.
  std::int64_t integer(const std::string& key) const;
  std::int64_t integer(const std::string& key, std::int64_t otherwise) const;
  double number(const std::string& key, double otherwise) const;
  bool flag(const std::string& key, bool otherwise) const;
  std::string word(const std::string& key, const std::string& otherwise) const;
  const Json& at(const std::string& key) const;
  // The first of these that the config has; throws where it has none.
  std::int64_t integer_of(std::initializer_list<const char*> keys) const;

  // The field is not read; with another value than this one the model would be another.
  void only(const std::string& key, const Json& value) const;
  // Nothing that is computed depends on these.
  void ignore(std::initializer_list<const char*> keys) const;

  // Of rope_parameters (version 5), else of rope_theta and rope_scaling, else `base` and no scaling. Two
  // bases that differ are an error. `context`: max_position_embeddings. `layer_type`: where
  // rope_parameters has a table for each type of layers, whose.
  RotaryConfig rotary(double base, std::int64_t context, const char* layer_type = "") const;

  void check_all_used() const;

 private:
  const Json* find(const std::string& key) const;

  const Json json_;
  const Place place_;
  mutable std::set<std::string> used_;
};

}  // namespace mote::checkpoint
