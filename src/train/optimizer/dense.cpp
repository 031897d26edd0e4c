#include "train/optimizer/dense.h"

#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <algorithm>

namespace mote::train {

constexpr std::int64_t kPart = 1 << 18;

DenseGroup::DenseGroup(std::vector<std::pair<std::string, Tensor>> parameters,
                       const TrainingConfig& config, const Executor& executor)
    : config_(config), executor_(executor), parameters_(std::move(parameters)) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& value = parameters_[i].second;
    const auto zeros = [&] {
      return torch::zeros_like(value, torch::MemoryFormat::Contiguous).requires_grad_(false);
    };
    moments_.push_back({zeros(), zeros()});
    for (std::int64_t first = 0; first < value.numel(); first += kPart)
      parts_.push_back({i, first, std::min(kPart, value.numel() - first)});
  }
}

std::vector<Tensor> DenseGroup::gradients() const {
  std::vector<Tensor> grads;
  for (const auto& [name, value] : parameters_)
    grads.push_back(value.grad().defined() ? value.grad().contiguous() : Tensor());
  return grads;
}

// Squares are summed in float32 within a part, parts in double in their order.
double DenseGroup::squared_norm() {
  const std::vector<Tensor> grads = gradients();
  std::vector<double> norms(parts_.size());
  parallel_for(executor_, static_cast<std::int64_t>(parts_.size()), [&](std::int64_t i, int) {
    const torch::NoGradGuard no_grad;
    const Part& part = parts_[static_cast<std::size_t>(i)];
    if (grads[part.tensor].defined())
      norms[static_cast<std::size_t>(i)] = part.of(grads[part.tensor]).norm().item<double>();
  });
  double squares = 0;
  for (const double n : norms) squares += n * n;
  return squares;
}

void DenseGroup::apply(double learning_rate, double factor, std::int64_t step) {
  const torch::NoGradGuard no_grad;
  const std::vector<Tensor> grads = gradients();
  const Tensor count = torch::full({1}, static_cast<double>(step), torch::kFloat32);
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
    if (factor != 1) grad.mul_(factor);
    const Moments& m = moments_[part.tensor];
    update(part.of(parameters_[part.tensor].second), grad, part.of(m.mean), part.of(m.square));
  });
  for (const auto& [name, value] : parameters_) {
    Tensor cleared = value;
    cleared.mutable_grad() = Tensor();
  }
}

void DenseGroup::visit_state(const StateVisitor& visitor) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    visitor("mean." + parameters_[i].first, moments_[i].mean);
    visitor("square." + parameters_[i].first, moments_[i].square);
  }
}

}  // namespace mote::train
