// Adam and AdamW over named tensors, on LibTorch's fused CPU kernels, with global-norm clipping.
// Tensors are taken in parts of a fixed size, by all threads, so results do not depend on the
// threads.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "model/torch.h"
#include "train/recipe.h"

namespace mote::train {

class Optimizer {
 public:
  Optimizer(std::vector<std::pair<std::string, Tensor>> parameters, const TrainingConfig& config,
            const Executor& executor);

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
  // Elements [first, first + count) of tensor number `tensor`.
  struct Part {
    std::size_t tensor;
    std::int64_t first, count;
    Tensor of(const Tensor& x) const { return x.view({-1}).narrow(0, first, count); }
  };
  double norm(const std::vector<Tensor>& grads) const;

  const TrainingConfig config_;
  const Executor& executor_;
  std::vector<std::pair<std::string, Tensor>> parameters_;
  std::vector<Moments> moments_;
  std::vector<Part> parts_;
  std::int64_t steps_done_ = 0;
};

}  // namespace mote::train
