// [[model.rules]]: settings of some layers that differ from those of the model.
//
//   [[model.rules]]
//   layers = "1::2"                  # every second block
//   feed_forward = { kind = "dense", width = 1024 }
//
// `layers` is one of
//   3 or "3"       one layer, counted from 0
//   "3-7"          from the first to the second, both included
//   "1::2"         start:stop:step with the stop left out, each part may be empty: 1, 3, 5, ...
//   "middle"       layer (L - 1) / 2, rounded down
//   [0, 4, 9]      these
// Every other key is one of a layer's settings, which the rule changes; what it leaves out stays.
#pragma once

#include <string>
#include <vector>

#include "base/fields.h"

namespace mote::checkpoint {

class LayerSelection {
 public:
  void read(const Json& json, const Place& place);
  Json write() const { return spelled_; }
  // The layers meant in a model of that many. Throws a config error for one that it does not have.
  std::vector<std::int64_t> of(std::int64_t layers, const Place& place) const;

 private:
  Json spelled_ = "0";
};

struct LayerRule {
  LayerSelection layers;
  Json changes = Json::object();

  void read(const Json& json, const Place& place);
  Json write() const;
};
// The rule that a table says; `file` is for messages.
LayerRule rule_from(const Json& table, const std::string& file);

}  // namespace mote::checkpoint
