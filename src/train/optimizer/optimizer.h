// The optimiser: groups of parameters that are each updated in their own way, clipped together.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "model/model.h"
#include "train/recipe.h"

namespace mote::train {

// A tensor of a group's state by name, to save it or to fill it.
using StateVisitor = std::function<void(const std::string& name, Tensor& value)>;

class OptimizerGroup {
 public:
  virtual ~OptimizerGroup() = default;
  // Sum of the squares of this step's gradients, in an order that depends on the shapes alone.
  virtual double squared_norm() = 0;
  // Updates by the gradients times `factor` and forgets them. `step` counts from 1.
  virtual void apply(double learning_rate, double factor, std::int64_t step) = 0;
  // Brings rows that are behind up to date: before evaluation and saving.
  virtual void flush() {}
  virtual void visit_state(const StateVisitor& visitor) = 0;
  // The state was filled with that of a group flushed after so many steps.
  virtual void restore(std::int64_t /*steps_done*/) {}
};

class Optimizer {
 public:
  Optimizer(std::vector<std::unique_ptr<OptimizerGroup>> groups, double clip_norm)
      : groups_(std::move(groups)), clip_norm_(clip_norm) {}

  // Clips the gradients of all groups together to the configured norm (0: any), updates and forgets
  // them. Returns the norm before clipping; where it is not finite nothing is updated.
  double step(double learning_rate);
  void flush();
  void visit_state(const StateVisitor& visitor);
  std::int64_t steps_done() const { return steps_done_; }
  void restore(std::int64_t steps_done);

 private:
  const std::vector<std::unique_ptr<OptimizerGroup>> groups_;
  const double clip_norm_;
  std::int64_t steps_done_ = 0;
};

// The groups of a model's parameters: one of tensors, and one for each table of rows.
std::unique_ptr<Optimizer> make_optimizer(const model::Trainable& parameters,
                                          const TrainingConfig& config, const kernels::Run& run);

}  // namespace mote::train
