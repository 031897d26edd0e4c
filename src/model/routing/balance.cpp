#include "model/routing/balance.h"

#include <cmath>
#include <numbers>

namespace mote::model {
namespace {

// Of each `group` consecutive tokens.
Tensor share_of_tokens(const Routed& r, std::int64_t group, bool dropped_as_first) {
  const std::int64_t tokens = r.scores_NE.size(0), experts = r.scores_NE.size(1);
  const Tensor first_N1 = dropped_as_first ? r.within_capacity.first_N1 : r.selected.first_N1,
               expert_R = dropped_as_first ? r.within_capacity.expert_R : r.selected.expert_R;
  const Tensor rows_N = first_N1.diff().to(torch::kInt64),
               group_N = torch::arange(tokens).div(group, "floor");
  const Tensor group_R = torch::repeat_interleave(group_N, rows_N);
  Tensor count_GE =
      torch::bincount(group_R * experts + expert_R.to(torch::kInt64), {}, tokens / group * experts)
          .view({-1, experts});
  if (dropped_as_first)
    count_GE.select(1, 0) += (r.selected.first_N1.diff() - rows_N).view({-1, group}).sum(1);
  return count_GE.to(torch::kFloat32) / static_cast<double>(group);
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

Tensor mean_probabilities(const Tensor& scores_NE, std::int64_t group) {
  if (group == scores_NE.size(0)) return log_mean_probability(scores_NE).exp().unsqueeze(0);
  return torch::softmax(scores_NE, -1).view({-1, group, scores_NE.size(1)}).mean(1);
}

}  // namespace

RoutingStatistics routing_statistics(const std::string& layer,
                                     const checkpoint::RouterConfig& config, const Routed& routed,
                                     const Pass& pass) {
  RoutingStatistics s{layer, {}, config.entropy_weight, config.balance};
  bool probabilities = config.entropy_weight > 0;
  for (const checkpoint::BalanceConfig& loss : config.balance) {
    if (const auto* balance = loss.get_if<checkpoint::SwitchLoss>()) {
      const bool by_sequence = balance->over == checkpoint::Scope::sequence;
      const std::int64_t group = by_sequence ? routed.sequence : routed.scores_NE.size(0);
      s.share_GE = share_of_tokens(routed, group, balance->dropped_as_first);
      s.mean_p_GE = mean_probabilities(routed.scores_NE, group);
    }
    if (loss.get_if<checkpoint::ImportanceLoss>()) s.importance_E = sum_of_gates(routed);
    if (loss.get_if<checkpoint::LoadLoss>()) s.load_E = expected_tokens(routed, pass);
    if (loss.get_if<checkpoint::ZLoss>())
      s.square_z = torch::logsumexp(routed.scores_NE, {-1}).square().mean();
  }
  if (probabilities) s.log_mean_p_E = log_mean_probability(routed.scores_NE);
  return s;
}

}  // namespace mote::model
