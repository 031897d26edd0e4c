#include "model/banks/rows.h"

#include <ATen/ops/gelu.h>

namespace mote::model {
namespace {

// Rows of a table, `active` of which a token uses.
Parameter table_parameter(std::string name, std::int64_t rows, double active, double std,
                          const LayerPlace& place) {
  return {std::move(name),
          {rows, place.dim},
          {Init::Kind::normal, std},
          Role::table,
          true,
          active / static_cast<double>(rows)};
}

// Of tokens that all have `per_token` rows: [N, K].
Tensor by_token(const Tensor& x_R, std::int64_t per_token) {
  return x_R.view({x_R.size(0) / per_token, per_token});
}

Tensor activated(const Tensor& a, checkpoint::NeuronActivation activation) {
  switch (activation) {
    case checkpoint::NeuronActivation::relu:
      return torch::relu(a);
    case checkpoint::NeuronActivation::gelu:
      return at::gelu(a);
    case checkpoint::NeuronActivation::gelu_tanh:
      return at::gelu(a, "tanh");
    case checkpoint::NeuronActivation::identity:
      return a;
  }
  return {};
}

}  // namespace

Tensor ValueBank::forward(const Tensor&, const ops::Assignment& assignment,
                          const Pass& pass) const {
  const ops::RowPicks picks(by_token(assignment.expert_R, per_token_), values_);
  return ops::row_sums(by_token(assignment.gate_R, per_token_), table_, picks, pass);
}

void ValueBank::visit(const std::string& name, ParameterVisitor& visitor) {
  visitor.table(table_parameter(name, values_, static_cast<double>(per_token_),
                                place_.initial_std(place_.dim), place_),
                table_);
}

Tensor NeuronBank::forward(const Tensor& x_ND, const ops::Assignment& assignment,
                           const Pass& pass) const {
  const ops::RowPicks picks(by_token(assignment.expert_R, heads_ * per_head_), experts_);
  const Tensor a_NK = ops::row_dots(x_ND, up_, picks, pass);
  return ops::row_sums(
      by_token(assignment.gate_R, heads_ * per_head_) * activated(a_NK, activation_), down_, picks,
      pass);
}

void NeuronBank::visit(const std::string& name, ParameterVisitor& visitor) {
  const auto h = static_cast<double>(heads_), k = static_cast<double>(per_head_);
  // The mean square of the activation of a standard normal number, and of gates that are alike.
  constexpr double kMeanSquare = 0.425;
  const double variance = k / (h * kMeanSquare * 2 * static_cast<double>(place_.layers));
  visitor.table(table_parameter(name + ".up", experts_, h * k,
                                1 / std::sqrt(static_cast<double>(place_.dim)), place_),
                up_);
  visitor.table(table_parameter(name + ".down", experts_, h * k, std::sqrt(variance), place_),
                down_);
}

}  // namespace mote::model
