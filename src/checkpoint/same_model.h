// Whether two configs compute the same from the same weights, outside training.
#pragma once

#include <string>

#include "checkpoint/model_config.h"

namespace mote::checkpoint {

// The first thing in which they differ, as "layer 3: attention.window is 128 and 0"; empty: they are
// the same. Not compared:
//   what only training uses: dropout, initial values, noise, capacities and losses of routers
//   what a change of weights undoes (weight_change.h): which columns are a rotary pair, the offset of norms'
//   weights, the scale of scores where queries have a norm
//   numbers that differ by less than 2^-20 of the larger: one of the two files has them as float32
// Scalings of positions are the same where their frequencies are.
std::string difference(const ModelConfig& a, const ModelConfig& b);

}  // namespace mote::checkpoint
