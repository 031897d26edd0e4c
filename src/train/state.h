// training_state.safetensors: what a run needs beside its weights to go on bit for bit.
#pragma once

#include <filesystem>

#include "model/memory.h"
#include "train/optimizer/optimizer.h"
#include "train/recipe.h"

namespace mote::train {

// The losses since the last line of metrics.jsonl that told their mean.
struct LossWindow {
  double sum = 0;
  std::int64_t steps = 0;
};

// What the bits of a step depend on beside the state itself.
struct Origin {
  Recipe recipe;
  std::string tokens;                   // xxh64 of tokens.bin
  std::string isa, precision, version;  // of the program
};

// The optimiser's state, attention memory, the losses not yet told, the number of steps done, and
// where they come from.
void save_state(const std::filesystem::path& path, Optimizer& optimizer,
                const model::Memory& memory, const LossWindow& window, const Origin& origin);
// Fills the optimiser of the same model, memory and window. Refuses the state of another run
// (recipe, tokens, number of steps, shapes), naming what differs; warns of what only makes the
// run's bits others. `steps_done` is the number that its
// folder has.
void load_state(const std::filesystem::path& path, std::int64_t steps_done, Optimizer& optimizer,
                model::Memory& memory, LossWindow& window, const Origin& origin,
                std::int64_t steps_per_epoch);

}  // namespace mote::train
