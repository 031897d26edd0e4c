// training_state.safetensors: everything a run needs to go on bit for bit.
#pragma once

#include <filesystem>

#include "model/language_model.h"
#include "train/optimizer.h"

namespace mote::train {

// Weights, moments, attention memory, and the number of steps done.
void save_state(const std::filesystem::path& path, const Optimizer& optimizer,
                const model::Memory& memory);
// Fills a model's optimiser (whose tensors are the model's) and memory; returns the steps done.
std::int64_t load_state(const std::filesystem::path& path, Optimizer& optimizer,
                        model::Memory& memory, std::int64_t layers);

}  // namespace mote::train
