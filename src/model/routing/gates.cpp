#include "model/routing/gates.h"

#include <limits>

namespace mote::model {
namespace {

using checkpoint::Gate;

Tensor selected_of(const Tensor& x_NE, const Selection& selected) {
  return x_NE.reshape(-1).index_select(0, selected.token_expert_R(x_NE.size(1)));
}

// The k-th column is of the k-th row of each token.
Tensor sparse_mixer_gates(const Tensor& scores_NE, double threshold, const Selection& selected) {
  const double taken = -std::numeric_limits<double>::infinity();
  const Tensor expert_NK =
      selected.expert_R.to(torch::kInt64).view({scores_NE.size(0), selected.per_token});
  Tensor left_NE = scores_NE;
  std::vector<Tensor> columns;
  for (std::int64_t k = 0; k < selected.per_token; ++k) {
    const Tensor expert_N1 = expert_NK.narrow(1, k, 1);
    const Tensor z_NE = scores_NE.detach(), best_N1 = z_NE.gather(1, expert_N1);
    const Tensor far_NE = (best_N1 - z_NE) / torch::maximum(z_NE.abs(), best_N1) > 2 * threshold;
    columns.push_back(torch::softmax(left_NE.masked_fill(far_NE, taken), -1).gather(1, expert_N1));
    left_NE = left_NE.scatter(1, expert_N1, taken);
  }
  return torch::cat(columns, 1).reshape(-1);
}

Tensor raw_gates(const checkpoint::RouterConfig& router, const Tensor& scores_NE,
                 const Selection& selected) {
  if (const auto* mixer = router.select.get_if<checkpoint::SparseMixer>())
    return sparse_mixer_gates(scores_NE, mixer->threshold, selected);
  if (router.gate == Gate::softmax_after)
    return torch::softmax(
               selected_of(scores_NE, selected).view({scores_NE.size(0), selected.per_token}), -1)
        .view(-1);
  return selected_of(gates_of_all(router.gate, scores_NE), selected);
}

}  // namespace

Tensor gates_of_all(Gate gate, const Tensor& scores_NE) {
  switch (gate) {
    case Gate::sigmoid:
      return torch::sigmoid(scores_NE);
    case Gate::softmax_before:
      return torch::softmax(scores_NE, -1);
    case Gate::sparsemax:
      return sparsemax(scores_NE);
    case Gate::one:
      return torch::ones_like(scores_NE);
    case Gate::softmax_after:
      break;
  }
  return {};
}

Tensor sparsemax(const Tensor& scores_NE) {
  const Tensor z_NE = scores_NE - scores_NE.detach().amax(-1, true);
  const Tensor sorted_NE = std::get<0>(z_NE.detach().sort(-1, true));
  const Tensor rank_E = torch::arange(1, z_NE.size(1) + 1, z_NE.options().requires_grad(false));
  const Tensor count_N1 =
      (1 + rank_E * sorted_NE > sorted_NE.cumsum(-1)).sum(-1, true).clamp_min(1);
  const Tensor in_NE = z_NE.detach() >= sorted_NE.gather(1, count_N1 - 1);
  const Tensor threshold_N1 = ((z_NE * in_NE).sum(-1, true) - 1) / count_N1;
  return torch::relu(z_NE - threshold_N1);
}

Tensor gates(const checkpoint::RouterConfig& router, const Tensor& scores_NE, const Tensor& keep_NE,
             const Selection& selected, const Pass& pass) {
  const auto scaled = [&](const Tensor& gate_R) {
    return router.gate_scale == 1 ? gate_R : gate_R * router.gate_scale;
  };
  if (router.gate == Gate::sigmoid && !router.renormalise && selected.per_token > 0)
    return scaled(
        ops::sigmoid_gates(scores_NE, keep_NE, selected.expert_R, selected.per_token, pass));
  Tensor gate_R = raw_gates(router, scores_NE, selected);
  if (keep_NE.defined()) gate_R = gate_R * selected_of(keep_NE, selected);
  if (!router.renormalise) return scaled(gate_R);
  const Tensor gate_NK = gate_R.view({scores_NE.size(0), selected.per_token});
  return scaled(
      (gate_NK / gate_NK.sum(-1, true).clamp_min(std::numeric_limits<float>::min())).view(-1));
}

}  // namespace mote::model
