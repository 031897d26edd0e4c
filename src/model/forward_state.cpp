#include "model/forward_state.h"

#include <cmath>
#include <limits>

namespace mote::model {
namespace {

// Standard deviation (of all, not a sample) over mean, or its square; 0 with gradient 0 where all
// are alike.
Tensor variation(const Tensor& x_E, bool squared) {
  const Tensor mean = x_E.mean().clamp_min(std::numeric_limits<float>::min());
  const Tensor square = ((x_E - x_E.mean()) / mean).square().mean();
  if (squared) return square;
  const Tensor spread = square > 0;
  return torch::where(spread, square, torch::ones_like(square)).sqrt() * spread;
}

struct Penalty {
  const RoutingStatistics& s;

  Tensor operator()(const checkpoint::SwitchLoss& loss) const {
    const auto experts = static_cast<double>(s.share_E.size(0));
    const Tensor p_E = s.log_mean_p_E.exp();
    return loss.weight * (loss.scale == checkpoint::SwitchScale::paper
                              ? experts * (s.share_E * p_E).sum()
                              : (s.share_E / s.share_E.sum() * p_E).sum() / experts);
  }
  Tensor operator()(const checkpoint::ImportanceLoss& loss) const {
    return loss.weight * variation(s.importance_E, loss.squared);
  }
  Tensor operator()(const checkpoint::LoadLoss& loss) const {
    return loss.weight * variation(s.load_E, loss.squared);
  }
  Tensor operator()(const checkpoint::ZLoss& loss) const { return loss.weight * s.square_z; }
};

}  // namespace

Tensor log_mean_probability(const Tensor& scores_NE) {
  const Tensor log_p_NE = torch::log_softmax(scores_NE, -1);
  return torch::logsumexp(log_p_NE, {0}) - std::log(static_cast<double>(scores_NE.size(0)));
}

Tensor penalties(const ForwardState& state) {
  Tensor sum;
  const auto add = [&](const Tensor& penalty) { sum = sum.defined() ? sum + penalty : penalty; };
  for (const RoutingStatistics& s : state.routing) {
    if (s.entropy_weight != 0)
      add(s.entropy_weight * (s.log_mean_p_E * s.log_mean_p_E.exp()).sum());
    for (const checkpoint::BalanceConfig& loss : s.balance) add(loss.visit(Penalty{s}));
  }
  return sum;
}

}  // namespace mote::model
