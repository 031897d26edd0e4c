#include "train/optimizer.h"

#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <cmath>

namespace mote::train {

Optimizer::Optimizer(std::vector<std::pair<std::string, Tensor>> parameters,
                     const TrainingConfig& config)
    : config_(config), parameters_(std::move(parameters)) {
  for (const auto& [name, value] : parameters_) {
    moments_.push_back({name, torch::zeros_like(value, torch::MemoryFormat::Contiguous),
                        torch::zeros_like(value, torch::MemoryFormat::Contiguous)});
    moments_.back().mean.requires_grad_(false);
    moments_.back().square.requires_grad_(false);
    counts_.push_back(torch::zeros({1}, torch::kFloat32));
  }
}

void Optimizer::restore(std::int64_t steps_done) {
  steps_done_ = steps_done;
  for (Tensor& count : counts_) count.fill_(static_cast<double>(steps_done));
}

double Optimizer::clip() {
  // Squares are summed in double, tensor by tensor in order, so the norm does not depend on how
  // tensors are split.
  double squares = 0;
  for (const auto& [name, value] : parameters_)
    if (value.grad().defined()) {
      const double norm = value.grad().norm().item<double>();
      squares += norm * norm;
    }
  const double norm = std::sqrt(squares);
  if (config_.clip_norm > 0 && norm > config_.clip_norm)
    for (const auto& [name, value] : parameters_)
      if (value.grad().defined()) value.grad().mul_(config_.clip_norm / (norm + 1e-6));
  return norm;
}

double Optimizer::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  const double norm = clip();
  if (!std::isfinite(norm)) return norm;
  std::vector<Tensor> values, grads, means, squares, counts;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& value = parameters_[i].second;
    if (!value.grad().defined()) continue;
    values.push_back(value);
    grads.push_back(value.grad().contiguous());
    means.push_back(moments_[i].mean);
    squares.push_back(moments_[i].square);
    counts.push_back(counts_[i].add_(1));
  }
  if (config_.optimizer == OptimizerKind::adam)
    at::_fused_adam_(values, grads, means, squares, {}, counts, learning_rate, config_.beta1,
                     config_.beta2, config_.weight_decay, config_.epsilon, false, false);
  else
    at::_fused_adamw_(values, grads, means, squares, {}, counts, learning_rate, config_.beta1,
                      config_.beta2, config_.weight_decay, config_.epsilon, false, false);
  for (const auto& [name, value] : parameters_) {
    Tensor cleared = value;
    cleared.mutable_grad() = Tensor();
  }
  ++steps_done_;
  return norm;
}

}  // namespace mote::train
