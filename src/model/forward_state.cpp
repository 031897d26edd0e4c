#include "model/forward_state.h"

#include <algorithm>
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

Tensor switch_loss(const checkpoint::SwitchLoss& loss, const Tensor& share_GE, const Tensor& p_GE) {
  const auto experts = static_cast<double>(share_GE.size(1)),
             groups = static_cast<double>(share_GE.size(0));
  return loss.weight / groups *
         (loss.scale == checkpoint::SwitchScale::paper
              ? experts * (share_GE * p_GE).sum()
              : (share_GE / share_GE.sum(1, true) * p_GE).sum() / experts);
}

// A loss of all layers that have it: sums over these.
struct OfAllLayers {
  checkpoint::SwitchLoss loss;
  Tensor share_GE, p_GE;
  std::int64_t layers = 0;

  bool takes(const checkpoint::SwitchLoss& other, const RoutingStatistics& s) const {
    return loss.weight == other.weight && loss.scale == other.scale &&
           share_GE.sizes() == s.share_GE.sizes();
  }
};

void add_to(std::vector<OfAllLayers>& sums, const checkpoint::SwitchLoss& loss,
            const RoutingStatistics& s) {
  const auto found = std::find_if(sums.begin(), sums.end(),
                                  [&](const OfAllLayers& one) { return one.takes(loss, s); });
  if (found == sums.end()) {
    sums.push_back({loss, s.share_GE, s.mean_p_GE, 1});
    return;
  }
  found->share_GE = found->share_GE + s.share_GE;
  found->p_GE = found->p_GE + s.mean_p_GE;
  ++found->layers;
}

// Of one layer.
struct Penalty {
  const RoutingStatistics& s;

  Tensor operator()(const checkpoint::SwitchLoss& loss) const {
    return switch_loss(loss, s.share_GE, s.mean_p_GE);
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
  std::vector<OfAllLayers> of_all_layers;
  const auto add = [&](const Tensor& penalty) { sum = sum.defined() ? sum + penalty : penalty; };
  for (const RoutingStatistics& s : state.routing) {
    if (s.entropy_weight != 0)
      add(s.entropy_weight * (s.log_mean_p_E * s.log_mean_p_E.exp()).sum());
    for (const checkpoint::BalanceConfig& loss : s.balance)
      if (const auto* of_all = loss.get_if<checkpoint::SwitchLoss>();
          of_all && of_all->of_all_layers)
        add_to(of_all_layers, *of_all, s);
      else
        add(loss.visit(Penalty{s}));
  }
  for (const OfAllLayers& joined : of_all_layers) {
    const auto layers = static_cast<double>(joined.layers);
    add(switch_loss(joined.loss, joined.share_GE / layers, joined.p_GE / layers));
  }
  return sum;
}

}  // namespace mote::model
