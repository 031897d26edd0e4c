#include "model/layers/dense_feed_forward.h"

#include "model/layers/sites.h"
#include "model/ops/dropout.h"
#include "model/ops/keep_topk.h"

namespace mote::model {

Tensor DenseFeedForward::forward(const Tensor& x_ND, ForwardState& state) const {
  const Pass& pass = state.pass;
  const Tensor hidden_NF =
      ops::dropout(up_.forward(x_ND, pass, kernels::Activation::relu), dropout_,
                   site(place_.index, Site::feed_forward_hidden), pass);
  return down_.forward(kept_ < width_ ? ops::keep_topk(hidden_NF, kept_, pass) : hidden_NF, pass);
}

void DenseFeedForward::visit(const std::string& name, ParameterVisitor& visitor) {
  const auto init = [&](std::int64_t fan_in) {
    return Init{Init::Kind::exact_normal, place_.initial_std(fan_in)};
  };
  const std::int64_t d = place_.dim, f = width_;
  up_.visit(matrix(name + ".up.weight", {f, d}, init(d)), visitor);
  up_.visit_bias({name + ".up.bias", {f}}, visitor);
  down_.visit(matrix(name + ".down.weight", {d, f}, init(f)), visitor);
  down_.visit_bias({name + ".down.bias", {d}}, visitor);
}

}  // namespace mote::model
