// The cosines and sines of rotary positions, which all layers of one setting share.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "checkpoint/rotary_config.h"
#include "model/layer_place.h"
#include "model/ops/rotary.h"

namespace mote::model {

class RotaryTable {
 public:
  RotaryTable(const checkpoint::RotaryConfig& config, std::int64_t head_dim);

  // Of at least the positions 0, ..., count - 1, turned as in a sequence of `count` positions. Grows by
  // doubling; rows once given stay as they are.
  ops::RotaryRows up_to(std::int64_t count) const;
  kernels::RotaryPairs pairs() const { return pairs_; }

 private:
  // Sequences of up to `positions` positions have these.
  struct Turns {
    std::int64_t positions;
    checkpoint::RotaryFrequencies frequencies;
    ops::RotaryRows rows = {};
  };
  const kernels::RotaryPairs pairs_;
  mutable std::mutex mutex_;
  mutable std::vector<Turns> turns_;  // of short sequences first
};

// The tables of a stack: one for each setting.
class RotaryTables {
 public:
  std::shared_ptr<const RotaryTable> of(const checkpoint::RotaryConfig& config,
                                        std::int64_t head_dim);

 private:
  std::vector<std::pair<Json, std::shared_ptr<const RotaryTable>>> tables_;
};

// Those of the layer's stack, or a table of its own.
std::shared_ptr<const RotaryTable> rotary_table(const checkpoint::RotaryConfig& config,
                                                std::int64_t head_dim, const LayerPlace& place);

}  // namespace mote::model
