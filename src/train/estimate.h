// What a run takes, before it is made.
#pragma once

#include "model/model.h"
#include "train/recipe.h"

namespace mote::train {

struct Estimate {
  std::int64_t steps = 0, tokens = 0;
  model::ParameterCounts parameters;
  std::uint64_t memory_bytes = 0;  // largest resident memory
  double seconds = 0;              // of the steps; 0: not measured
};

// Runs a step forwards and backwards twice, without an update, and takes the second for all
// `steps`. `has_state`: the optimiser's moments are in memory already.
Estimate estimate(model::Model& model, const Tensor& ids_BT, const Tensor& targets_BT,
                  const model::Pass& pass, std::int64_t steps, bool has_state);

// The same for a recipe, whose folder is neither made nor read. What could not fit into this
// machine's memory is not run: then the memory is that of weights, gradients and moments alone.
Estimate dry_run(const Recipe& recipe, const kernels::Run& run);

// Refuses a recipe whose weights, gradients and moments alone do not fit into this machine's memory.
void check_memory(const Recipe& recipe);

}  // namespace mote::train
