#include "train/optimizer.h"

#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <algorithm>
#include <cmath>

namespace mote::train {

constexpr std::int64_t kPart = 1 << 18;

Optimizer::Optimizer(std::vector<std::pair<std::string, Tensor>> parameters,
                     const TrainingConfig& config, const Executor& executor)
    : config_(config), executor_(executor), parameters_(std::move(parameters)) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, value] = parameters_[i];
    moments_.push_back({name, torch::zeros_like(value, torch::MemoryFormat::Contiguous),
                        torch::zeros_like(value, torch::MemoryFormat::Contiguous)});
    moments_.back().mean.requires_grad_(false);
    moments_.back().square.requires_grad_(false);
    for (std::int64_t first = 0; first < value.numel(); first += kPart)
      parts_.push_back({i, first, std::min(kPart, value.numel() - first)});
  }
}

void Optimizer::restore(std::int64_t steps_done) {
  steps_done_ = steps_done;
}

// Squares are summed in float32 within a part, parts in double in their order.
double Optimizer::norm(const std::vector<Tensor>& grads) const {
  std::vector<double> norms(parts_.size());
  parallel_for(executor_, static_cast<std::int64_t>(parts_.size()), [&](std::int64_t i, int) {
    const torch::NoGradGuard no_grad;
    const Part& part = parts_[static_cast<std::size_t>(i)];
    if (grads[part.tensor].defined())
      norms[static_cast<std::size_t>(i)] = part.of(grads[part.tensor]).norm().item<double>();
  });
  double squares = 0;
  for (const double n : norms) squares += n * n;
  return std::sqrt(squares);
}

double Optimizer::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> grads;
  for (const auto& [name, value] : parameters_)
    grads.push_back(value.grad().defined() ? value.grad().contiguous() : Tensor());
  const double norm = this->norm(grads);
  if (!std::isfinite(norm)) return norm;
  const bool clip = config_.clip_norm > 0 && norm > config_.clip_norm;
  const double factor = clip ? config_.clip_norm / (norm + 1e-6) : 1;
  const Tensor count = torch::full({1}, static_cast<double>(steps_done_ + 1), torch::kFloat32);
  const auto update = [&](const Tensor& value, const Tensor& grad, const Tensor& mean,
                          const Tensor& square) {
    if (config_.optimizer == OptimizerKind::adam)
      at::_fused_adam_({value}, {grad}, {mean}, {square}, {}, {count}, learning_rate, config_.beta1,
                       config_.beta2, config_.weight_decay, config_.epsilon, false, false);
    else
      at::_fused_adamw_({value}, {grad}, {mean}, {square}, {}, {count}, learning_rate,
                        config_.beta1, config_.beta2, config_.weight_decay, config_.epsilon, false,
                        false);
  };
  parallel_for(executor_, static_cast<std::int64_t>(parts_.size()), [&](std::int64_t i, int) {
    const torch::NoGradGuard on_this_thread;
    const Part& part = parts_[static_cast<std::size_t>(i)];
    if (!grads[part.tensor].defined()) return;
    Tensor grad = part.of(grads[part.tensor]);
    if (clip) grad.mul_(factor);
    const Moments& m = moments_[part.tensor];
    update(part.of(parameters_[part.tensor].second), grad, part.of(m.mean), part.of(m.square));
  });
  for (const auto& [name, value] : parameters_) {
    Tensor cleared = value;
    cleared.mutable_grad() = Tensor();
  }
  ++steps_done_;
  return norm;
}

}  // namespace mote::train
