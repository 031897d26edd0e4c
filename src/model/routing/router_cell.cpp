#include "model/routing/router_cell.h"

#include <ATen/ops/gru_cell.h>

namespace mote::model {

Tensor RouterCell::next(const Tensor& x_NP, const Tensor& h_NP) const {
  return at::gru_cell(x_NP, h_NP.defined() ? h_NP : torch::zeros_like(x_NP), input_weight_,
                      hidden_weight_, input_bias_, hidden_bias_);
}

void RouterCell::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t p = state_dim_;
  const Init init{Init::Kind::normal, 0.02};
  visitor.tensor({name + ".input.weight", {3 * p, p}, init}, input_weight_);
  visitor.tensor({name + ".input.bias", {3 * p}}, input_bias_);
  visitor.tensor({name + ".hidden.weight", {3 * p, p}, init}, hidden_weight_);
  visitor.tensor({name + ".hidden.bias", {3 * p}}, hidden_bias_);
}

}  // namespace mote::model
