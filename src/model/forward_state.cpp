#include "model/forward_state.h"

#include <cmath>

namespace mote::model {

Tensor log_mean_probability(const Tensor& scores_NE) {
  const Tensor log_p_NE = torch::log_softmax(scores_NE, -1);
  return torch::logsumexp(log_p_NE, {0}) - std::log(static_cast<double>(scores_NE.size(0)));
}

Tensor penalties(const ForwardState& state) {
  Tensor sum;
  for (const RoutingStatistics& s : state.routing) {
    if (s.entropy_weight == 0) continue;
    const Tensor penalty = s.entropy_weight * (s.log_mean_p_E * s.log_mean_p_E.exp()).sum();
    sum = sum.defined() ? sum + penalty : penalty;
  }
  return sum;
}

}  // namespace mote::model
