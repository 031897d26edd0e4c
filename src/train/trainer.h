// A training run in a folder (train/run_folder.h): recipe in, checkpoints out. A run killed at any
// moment goes on from its latest checkpoint with the same bits as if it had not been.
#pragma once

#include <filesystem>
#include <optional>

#include "kernels/core/variants.h"
#include "model/model.h"
#include "train/recipe.h"

namespace mote::train {

struct TrainResult {
  std::int64_t steps = 0, tokens = 0;  // of the whole run
  std::optional<double>
      train_loss;  // mean over the last steps logged, nats per token; none: no step was left
  std::optional<double> valid_loss, valid_bits_per_byte;
  double tokens_per_second = 0, seconds = 0;  // of this call; the rate is of training steps alone
  model::ParameterCounts parameters;
};

// Trains to the recipe's last step. Without `resume` the folder must be new or empty; with it, a
// run whose recipe is the same goes on, and a folder with no run yet starts one. An interrupt saves
// and throws `interrupted`. A loss that is not finite throws `numeric`, naming the step, the layer
// and the last good checkpoint, and leaves that checkpoint as it is.
TrainResult train(const Recipe& recipe, const std::filesystem::path& folder, bool resume,
                  const kernels::Run& run);

// The best instruction set that a run may use.
std::string isa_of(const kernels::Run& run);

}  // namespace mote::train
