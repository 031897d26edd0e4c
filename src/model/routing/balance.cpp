#include "model/routing/balance.h"

#include <cmath>
#include <numbers>

namespace mote::model {
namespace {

Tensor share_of_tokens(const Routed& r) {
  return torch::bincount(r.selected.expert_R, {}, r.scores_NE.size(1)).to(torch::kFloat32) /
         static_cast<double>(r.scores_NE.size(0));
}

Tensor sum_of_gates(const Routed& r) {
  return torch::zeros({r.scores_NE.size(1)}).index_add(0, r.selected.expert_R, r.gate_R);
}

Tensor expected_tokens(const Routed& r, const Pass& pass) {
  const std::int64_t tokens = r.scores_NE.size(0), k = r.selected.per_token;
  const Tensor best_NK = ops::topk(r.noisy_NE.detach(), k + 1, pass).view({tokens, k + 1});
  const Tensor sorted_NK = r.noisy_NE.gather(1, best_NK.to(torch::kInt64));
  // Of a selected one the K-th largest of the others is the first that was not selected.
  const Tensor selected_NE = torch::zeros(r.noisy_NE.sizes())
                                 .scatter(1, best_NK.narrow(1, 0, k).to(torch::kInt64), 1)
                                 .to(torch::kBool);
  const Tensor threshold_NE =
      torch::where(selected_NE, sorted_NK.narrow(1, k, 1), sorted_NK.narrow(1, k - 1, 1));
  const Tensor far_NE = (r.scores_NE - threshold_NE) / r.noise_std_NE.clamp_min(1e-6);
  return (0.5 * (1 + torch::erf(far_NE / std::numbers::sqrt2))).sum(0);
}

}  // namespace

RoutingStatistics routing_statistics(const std::string& layer,
                                     const checkpoint::RouterConfig& config, const Routed& routed,
                                     const Pass& pass) {
  RoutingStatistics s{layer, {}, config.entropy_weight, config.balance};
  bool probabilities = config.entropy_weight > 0;
  for (const checkpoint::BalanceConfig& loss : config.balance) {
    if (loss.get_if<checkpoint::SwitchLoss>())
      probabilities = true, s.share_E = share_of_tokens(routed);
    if (loss.get_if<checkpoint::ImportanceLoss>()) s.importance_E = sum_of_gates(routed);
    if (loss.get_if<checkpoint::LoadLoss>()) s.load_E = expected_tokens(routed, pass);
    if (loss.get_if<checkpoint::ZLoss>())
      s.square_z = torch::logsumexp(routed.scores_NE, {-1}).square().mean();
  }
  if (probabilities) s.log_mean_p_E = log_mean_probability(routed.scores_NE);
  return s;
}

}  // namespace mote::model
