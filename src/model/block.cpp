#include "model/block.h"

#include "model/layers/sites.h"
#include "model/ops/dropout.h"

namespace mote::model {

TransformerBlock::TransformerBlock(const ModelConfig& config, std::int64_t layer)
    : config_(config),
      layer_(layer),
      attention_norm_(config.dim),
      feed_forward_norm_(config.dim),
      attention_(config, layer),
      feed_forward_(make_feed_forward(config, layer)) {}

Tensor TransformerBlock::add_attention(const Tensor& x_BTD, const Tensor& y_BTD,
                                       const Pass& pass) const {
  return x_BTD + ops::dropout(y_BTD, config_.dropout, site(layer_, Site::attention_output), pass);
}

Tensor TransformerBlock::attend(const Tensor& x_BTD, Cache& cache, const Pass& pass) const {
  return add_attention(x_BTD, attention_.forward(attention_norm_.forward(x_BTD, pass), cache, pass),
                       pass);
}

Tensor TransformerBlock::feed_forward_input(const Tensor& x_BTD, const Pass& pass) const {
  return feed_forward_norm_.forward(x_BTD, pass).view({-1, config_.dim});
}

BlockResult TransformerBlock::finish(const Tensor& x_BTD, const Tensor& router_state,
                                     const Pass& pass) const {
  FeedForwardResult result = feed_forward_->forward(
      {feed_forward_input(x_BTD, pass), x_BTD.size(0), Tensor(), router_state, pass});
  const Tensor y_BTD = result.y_ND.view(x_BTD.sizes());
  return {
      x_BTD + ops::dropout(y_BTD, config_.dropout, site(layer_, Site::feed_forward_output), pass),
      result.penalty, std::move(result.usage), result.router_state};
}

BlockResult TransformerBlock::forward(const Tensor& x_BTD, const Tensor& memory_BMD,
                                      const Tensor& router_state, const Pass& pass) const {
  const Tensor seen = memory_BMD.defined() ? torch::cat({memory_BMD, x_BTD}, 1) : x_BTD;
  const Tensor y_BTD = attention_.forward(attention_norm_.forward(seen, pass), x_BTD.size(1), pass);
  return finish(add_attention(x_BTD, y_BTD, pass), router_state, pass);
}

BlockResult TransformerBlock::forward(const Tensor& x_BTD, Cache& cache, const Tensor& router_state,
                                      const Pass& pass) const {
  return finish(attend(x_BTD, cache, pass), router_state, pass);
}

void TransformerBlock::visit(const std::string& name, ParameterVisitor& visitor) {
  attention_norm_.visit(name + ".attention_norm", visitor);
  attention_.visit(name + ".attention", visitor);
  feed_forward_norm_.visit(name + ".feed_forward_norm", visitor);
  feed_forward_->visit(name + ".feed_forward", visitor);
}

}  // namespace mote::model
