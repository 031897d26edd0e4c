// What a run takes, before it is made.
#pragma once

#include <filesystem>

#include "model/model.h"
#include "train/recipe.h"

namespace mote::train {

// Bytes that a run needs beside what the process has, by its shapes: weights, moments, and of a step
// the gradients or what is kept for them, whichever is more. `vocab_size`: tokens of the tokenizer.
double memory_to_train(const Recipe& recipe, std::int64_t vocab_size);

struct Estimate {
  std::int64_t steps = 0, tokens = 0;
  model::ParameterCounts parameters;
  double memory_bytes = 0;  // largest resident memory
  double seconds = 0;       // of the steps; 0: not measured
};

// Of the steps that are left of the run in `folder` (empty: of a new one), which is read and not
// changed. Runs a step forwards and backwards twice, without an update, and takes the second for
// all; what does not fit into this machine's memory is not run.
Estimate dry_run(const Recipe& recipe, const std::filesystem::path& folder,
                 const kernels::Run& run);

// Refuses a recipe for which there is not enough memory.
void check_memory(const Recipe& recipe, std::int64_t vocab_size);

}  // namespace mote::train
