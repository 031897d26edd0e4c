#include "train/optimizer/optimizer.h"

#include <cmath>

#include "train/optimizer/dense.h"
#include "train/optimizer/rows.h"

namespace mote::train {

double Optimizer::step(double learning_rate) {
  double squares = 0;
  for (const auto& group : groups_) squares += group->squared_norm();
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return norm;
  const bool clip = clip_norm_ > 0 && norm > clip_norm_;
  const double factor = clip ? clip_norm_ / (norm + 1e-6) : 1;
  ++steps_done_;
  for (const auto& group : groups_) group->apply(learning_rate, factor, steps_done_);
  return norm;
}

void Optimizer::flush() {
  for (const auto& group : groups_) group->flush();
}

void Optimizer::restore(std::int64_t steps_done) {
  steps_done_ = steps_done;
  for (const auto& group : groups_) group->restore(steps_done);
}

void Optimizer::visit_state(const StateVisitor& visitor) {
  for (const auto& group : groups_) group->visit_state(visitor);
}

std::unique_ptr<Optimizer> make_optimizer(const model::Trainable& parameters,
                                          const TrainingConfig& config, const kernels::Run& run) {
  std::vector<std::unique_ptr<OptimizerGroup>> groups;
  groups.push_back(std::make_unique<DenseGroup>(parameters.tensors, config, *run.executor));
  for (const model::RowTablePtr& table : parameters.tables)
    groups.push_back(std::make_unique<RowGroup>(table, config, run));
  return std::make_unique<Optimizer>(std::move(groups), config.clip_norm);
}

}  // namespace mote::train
