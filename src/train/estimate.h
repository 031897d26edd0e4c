// What a run takes, before it is made.
#pragma once

#include <filesystem>

#include "model/model.h"
#include "train/recipe.h"

namespace mote::train {

// The steps after which the time of one, and the most memory that all had, are those of a run.
constexpr int kStepsTried = 3;

struct Estimate {
  std::int64_t steps = 0, tokens = 0;
  model::ParameterCounts parameters;
  double memory_bytes = 0;  // largest resident memory
  double seconds = 0;       // of the steps; 0: not measured
};

// Of the steps that are left of the run in `folder` (empty: of a new one), which is read and not
// changed. Tries some steps forwards and backwards, without an update. What cannot fit into this
// machine's memory is not tried: then the memory is what it takes at least, by its shapes.
Estimate dry_run(const Recipe& recipe, const std::filesystem::path& folder,
                 const kernels::Run& run);

// Warns of layers whose router training cannot move, and of those whose losses mean less than they say.
void tell_warnings(const Recipe& recipe);

// Bytes that a run takes at least, by its shapes: weights, moments, and of a step the gradients or
// what is kept for them, whichever is more. `vocab_size`: tokens of the tokenizer.
double least_memory(const Recipe& recipe, std::int64_t vocab_size);

// Refuses a recipe for which there cannot be enough memory.
void check_memory(const Recipe& recipe, std::int64_t vocab_size);

}  // namespace mote::train
