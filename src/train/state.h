// training_state.safetensors: everything a run needs to go on bit for bit.
#pragma once

#include <filesystem>

#include "model/model.h"
#include "train/optimizer.h"

namespace mote::train {

// The losses since the last line of metrics.jsonl that told their mean.
struct LossWindow {
  double sum = 0;
  std::int64_t steps = 0;
};

// Weights, moments, attention memory, the losses not yet told, and the number of steps done.
void save_state(const std::filesystem::path& path, const Optimizer& optimizer,
                const model::Memory& memory, const LossWindow& window);
// Fills a model's optimiser (whose tensors are the model's), memory and window; returns the steps
// done.
std::int64_t load_state(const std::filesystem::path& path, Optimizer& optimizer,
                        model::Memory& memory, LossWindow& window, std::int64_t layers);

}  // namespace mote::train
