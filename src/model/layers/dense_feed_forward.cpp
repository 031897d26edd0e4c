#include "model/layers/dense_feed_forward.h"

#include "model/layers/sites.h"
#include "model/layers/unit.h"
#include "model/ops/dropout.h"
#include "model/ops/keep_topk.h"

namespace mote::model {

Tensor DenseFeedForward::hidden(const Tensor& x_ND, const Pass& pass) const {
  if (config_.gated)
    return ops::gated(gate_.forward(x_ND, pass), up_.forward(x_ND, pass),
                      unit_of(config_.activation), pass);
  if (config_.activation == checkpoint::NeuronActivation::relu)
    return up_.forward(x_ND, pass, kernels::Activation::relu);
  return ops::gated(up_.forward(x_ND, pass), Tensor(), unit_of(config_.activation), pass);
}

Tensor DenseFeedForward::forward(const Tensor& x_ND, ForwardState& state) const {
  const Pass& pass = state.pass;
  const Tensor hidden_NF = ops::dropout(hidden(x_ND, pass), dropout_,
                                        site(place_.index, Site::feed_forward_hidden), pass);
  return down_.forward(kept_ < config_.width ? ops::keep_topk(hidden_NF, kept_, pass) : hidden_NF,
                       pass);
}

void DenseFeedForward::visit(const std::string& name, ParameterVisitor& visitor) {
  const std::int64_t d = place_.dim, f = config_.width;
  const auto visit_one = [&](Linear& linear, const char* part, std::int64_t out, std::int64_t in) {
    const Init init{Init::Kind::exact_normal, place_.initial_std(in)};
    linear.visit(matrix(concat(name, part, ".weight"), {out, in}, init), visitor);
    if (config_.bias) linear.visit_bias({concat(name, part, ".bias"), {out}}, visitor);
  };
  if (config_.gated) visit_one(gate_, ".gate", f, d);
  visit_one(up_, ".up", f, d);
  visit_one(down_, ".down", d, f);
}

}  // namespace mote::model
