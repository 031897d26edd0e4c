// training_state.safetensors: what a run needs beside its weights to go on bit for bit.
#pragma once

#include <filesystem>

#include "model/memory.h"
#include "train/optimizer/optimizer.h"

namespace mote::train {

// The losses since the last line of metrics.jsonl that told their mean.
struct LossWindow {
  double sum = 0;
  std::int64_t steps = 0;
};

// The optimiser's state, attention memory, the losses not yet told, and the number of steps done.
void save_state(const std::filesystem::path& path, Optimizer& optimizer,
                const model::Memory& memory, const LossWindow& window);
// Fills the optimiser of the same model, memory and window.
void load_state(const std::filesystem::path& path, Optimizer& optimizer, model::Memory& memory,
                LossWindow& window, std::int64_t layers);

}  // namespace mote::train
