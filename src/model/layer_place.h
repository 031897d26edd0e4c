// Where a layer stands in its model: all that it needs to know beside its own LayerConfig.
#pragma once

#include <cmath>
#include <cstdint>

#include "checkpoint/model_config.h"

namespace mote::model {

using checkpoint::LayerConfig;
using checkpoint::ModelConfig;

class RotaryTables;
class RouterCell;

struct LayerPlace {
  std::int64_t index = 0;    // from 0, or of an encoder from kEncoderLayers (layers/sites.h)
  std::int64_t layers = 1;   // in the stack
  std::int64_t dim = 0;      // width of the residual stream
  std::int64_t context = 0;  // tokens of a block
  // What recurrent routers of all layers share; outlives the layer. Null: no layer has one.
  const RouterCell* router_cell = nullptr;
  // Where layers find the tables of rotary positions that they share; null: each has its own.
  RotaryTables* rotary_tables = nullptr;
  bool encoder = false;       // every position sees all others
  bool reads_source = false;  // what an encoder made of a source

  // sqrt(2 / (L * fan_in)): the standard deviation that matrices start with (specs/sparse-ffn 3.1).
  double initial_std(std::int64_t fan_in) const {
    return std::sqrt(2.0 / static_cast<double>(layers * fan_in));
  }
};

}  // namespace mote::model
