// Adam and AdamW over named tensors, on LibTorch's fused CPU kernels, with global-norm clipping.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/torch.h"
#include "train/recipe.h"

namespace mote::train {

class Optimizer {
 public:
  Optimizer(std::vector<std::pair<std::string, Tensor>> parameters, const TrainingConfig& config);

  // Clips the gradients to the configured norm, updates and clears them. Returns the norm before
  // clipping.
  double step(double learning_rate);

  struct Moments {
    std::string name;
    Tensor mean, square;
  };
  const std::vector<Moments>& moments() const { return moments_; }
  const std::vector<std::pair<std::string, Tensor>>& parameters() const { return parameters_; }
  std::int64_t steps_done() const { return steps_done_; }
  // Goes on from saved moments, which are copied in.
  void restore(std::int64_t steps_done);

 private:
  double clip();

  const TrainingConfig config_;
  std::vector<std::pair<std::string, Tensor>> parameters_;
  std::vector<Moments> moments_;
  std::vector<Tensor> counts_;  // what the fused kernel wants: one step counter per tensor
  std::int64_t steps_done_ = 0;
};

}  // namespace mote::train
