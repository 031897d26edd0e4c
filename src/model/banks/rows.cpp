#include "model/banks/rows.h"

#include <ATen/ops/gelu.h>

#include "model/layers/sites.h"
#include "model/ops/dropout.h"

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
    case checkpoint::NeuronActivation::silu:
      return torch::silu(a);
    case checkpoint::NeuronActivation::identity:
      return a;
  }
  return {};
}

std::int64_t picks(const checkpoint::ProductKeyRouter& router) {
  return router.heads * router.experts_per_head;
}

}  // namespace

Tensor ValueBank::forward(const Tensor&, const ops::Assignment& assignment,
                          ForwardState& state) const {
  const std::int64_t per_token = picks(config_.router);
  const ops::RowPicks rows(by_token(assignment.expert_R, per_token), config_.values);
  return ops::row_sums(by_token(assignment.gate_R, per_token), table_, rows, state.pass);
}

void ValueBank::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t per_token = picks(config_.router);
  std::int64_t fan_in = place_.dim;
  if (config_.value_init == checkpoint::ValueInit::values) fan_in = config_.values;
  if (config_.value_init == checkpoint::ValueInit::picks) fan_in = per_token;
  visitor.table(table_parameter(name, config_.values, static_cast<double>(per_token),
                                place_.initial_std(fan_in), place_),
                table_);
}

Tensor NeuronBank::forward(const Tensor& x_ND, const ops::Assignment& assignment,
                           ForwardState& state) const {
  const Pass& pass = state.pass;
  const std::int64_t per_token = picks(config_.router);
  const ops::RowPicks rows(by_token(assignment.expert_R, per_token), experts_);
  Tensor hidden_NK = activated(ops::row_dots(x_ND, up_, rows, pass), config_.activation);
  if (config_.gated) hidden_NK = hidden_NK * ops::row_dots(x_ND, gate_, rows, pass);
  hidden_NK =
      ops::dropout(hidden_NK, config_.dropout, site(place_.index, Site::feed_forward_hidden), pass);
  return ops::row_sums(by_token(assignment.gate_R, per_token) * hidden_NK, down_, rows, pass);
}

void NeuronBank::visit(const std::string& name, ParameterVisitor& visitor) {
  const auto h = static_cast<double>(config_.router.heads),
             k = static_cast<double>(config_.router.experts_per_head);
  // The mean square of the activation of a standard normal number, and of gates that are alike.
  constexpr double kMeanSquare = 0.425;
  const double variance = k / (h * kMeanSquare * 2 * static_cast<double>(place_.layers)),
               of_input = 1 / std::sqrt(static_cast<double>(place_.dim));
  visitor.table(table_parameter(name + ".up", experts_, h * k, of_input, place_), up_);
  if (config_.gated)
    visitor.table(table_parameter(name + ".gate", experts_, h * k, of_input, place_), gate_);
  visitor.table(table_parameter(name + ".down", experts_, h * k, std::sqrt(variance), place_),
                down_);
}

}  // namespace mote::model
