#include "model/layers/dense_feed_forward.h"

#include "model/layers/sites.h"
#include "model/ops/dropout.h"

namespace mote::model {

Tensor DenseFeedForward::forward(const Tensor& x_ND, ForwardState& state) const {
  const Tensor hidden = up_.forward(x_ND, state.pass, kernels::Activation::relu);
  return down_.forward(
      ops::dropout(hidden, dropout_, site(place_.index, Site::feed_forward_hidden), state.pass),
      state.pass);
}

void DenseFeedForward::visit(const std::string& name, ParameterVisitor& visitor) {
  const auto init = [&](std::int64_t fan_in) {
    return Init{Init::Kind::exact_normal, place_.initial_std(fan_in)};
  };
  const std::int64_t d = place_.dim, f = config_.width;
  up_.visit(matrix(name + ".up.weight", {f, d}, init(d)), visitor);
  up_.visit_bias({name + ".up.bias", {f}}, visitor);
  down_.visit(matrix(name + ".down.weight", {d, f}, init(f)), visitor);
  down_.visit_bias({name + ".down.bias", {d}}, visitor);
}

}  // namespace mote::model
