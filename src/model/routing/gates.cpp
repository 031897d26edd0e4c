#include "model/routing/gates.h"

#include <limits>

namespace mote::model {
namespace {

using checkpoint::Gate;

// Of every expert, selected or not.
Tensor of_all(Gate gate, const Tensor& scores_NE) {
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

Tensor selected_of(const Tensor& x_NE, const Selection& selected) {
  return x_NE.reshape(-1).index_select(0, selected.token_expert_R(x_NE.size(1)));
}

}  // namespace

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

Tensor gates(Gate gate, bool renormalise, const Tensor& scores_NE, const Tensor& keep_NE,
             const Selection& selected, const Pass& pass) {
  if (gate == Gate::sigmoid && !renormalise && selected.per_token > 0)
    return ops::sigmoid_gates(scores_NE, keep_NE, selected.expert_R, selected.per_token, pass);
  Tensor gate_R =
      gate == Gate::softmax_after
          ? torch::softmax(
                selected_of(scores_NE, selected).view({scores_NE.size(0), selected.per_token}), -1)
                .view(-1)
          : selected_of(of_all(gate, scores_NE), selected);
  if (keep_NE.defined()) gate_R = gate_R * selected_of(keep_NE, selected);
  if (!renormalise) return gate_R;
  const Tensor gate_NK = gate_R.view({scores_NE.size(0), selected.per_token});
  return (gate_NK / gate_NK.sum(-1, true).clamp_min(std::numeric_limits<float>::min())).view(-1);
}

}  // namespace mote::model
