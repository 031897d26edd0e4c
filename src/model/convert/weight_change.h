// How weights change between two configs of the same model (checkpoint/same_model.h), so that both
// compute the same.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/model_config.h"

namespace mote::model {

// new[i] = (old[order[i]] + before) times - after; no order: as they lie.
//   queries and keys where other columns are a rotary pair (m and m + R / 2, or 2m and 2m + 1): their rows
//     in each head, and norms of heads
//   norms whose weight has another offset: before and after are the offsets
//   queries' norms where scores have another scale: times is the old one by the new
struct WeightChange {
  std::vector<std::int64_t> order;
  double before = 0, times = 1, after = 0;
  bool is_of_values() const { return before != after || times != 1; }
};
WeightChange weight_change(const std::string& parameter, const checkpoint::ModelConfig& from,
                           const checkpoint::ModelConfig& to);

}  // namespace mote::model
