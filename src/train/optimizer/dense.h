// Adam and AdamW over named tensors, on LibTorch's fused CPU kernels. Tensors are taken in parts of
// a fixed size, by all threads, so results do not depend on the threads.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/optimizer/optimizer.h"

namespace mote::train {

class DenseGroup final : public OptimizerGroup {
 public:
  DenseGroup(std::vector<std::pair<std::string, Tensor>> parameters, const TrainingConfig& config,
             const Executor& executor);
  double squared_norm() override;
  void apply(double learning_rate, double factor, std::int64_t step) override;
  // "mean.NAME" and "square.NAME".
  void visit_state(const StateVisitor& visitor) override;

 private:
  struct Moments {
    Tensor mean, square;
  };
  // Elements [first, first + count) of tensor number `tensor`.
  struct Part {
    std::size_t tensor;
    std::int64_t first, count;
    Tensor of(const Tensor& x) const { return x.view({-1}).narrow(0, first, count); }
  };
  std::vector<Tensor> gradients() const;  // contiguous; undefined: none

  const TrainingConfig config_;
  const Executor& executor_;
  const std::vector<std::pair<std::string, Tensor>> parameters_;
  std::vector<Moments> moments_;
  std::vector<Part> parts_;
};

}  // namespace mote::train
