#include "model/block.h"

#include "model/layers/sites.h"
#include "model/observer.h"
#include "model/ops/add.h"
#include "model/ops/dropout.h"

namespace mote::model {

TransformerBlock::TransformerBlock(const LayerConfig& config, const LayerPlace& place)
    : config_(config),
      place_(place),
      attention_norm_(config.norms, place.dim),
      feed_forward_norm_(config.norms, place.dim),
      attention_(make_attention(config.attention, config.norms, place)),
      feed_forward_(make_feed_forward(config, place)) {
  if (place.reads_source) {
    cross_attention_norm_.emplace(config.norms, place.dim);
    cross_attention_.emplace(config.attention, place);
  }
  if (!config.norms.after) return;
  after_attention_.emplace(config.norms, place.dim);
  after_feed_forward_.emplace(config.norms, place.dim);
}

Tensor TransformerBlock::attend(const Tensor& x_BTD, ForwardState& state) const {
  const Pass& pass = state.pass;
  if (!state.caches.empty())
    return attention_->forward(attention_norm_.forward(x_BTD, pass), state);
  Tensor seen = x_BTD;
  if (state.memory) {
    const Tensor past_BMD =
        state.memory->exchange(place_.index, x_BTD, attention_->memory_positions());
    if (past_BMD.defined()) seen = torch::cat({past_BMD, x_BTD}, 1);
  }
  return attention_->forward(attention_norm_.forward(seen, pass), x_BTD.size(1), state);
}

Tensor TransformerBlock::forward(const Tensor& x_BTD, ForwardState& state) const {
  const auto dropout = [&](const Tensor& y, std::int64_t where) {
    return ops::dropout(y, config_.dropout, where, state.pass);
  };
  const Pass& pass = state.pass;
  // What a sublayer gives, as it joins the residual stream.
  const auto joining = [&](const char* part, const Tensor& y, const std::optional<Norm>& norm,
                           std::int64_t where) {
    if (pass.observer) pass.observer->gave(name_ + part, y);
    const Tensor normed = norm ? norm->forward(y, pass) : y;
    return dropout(config_.residual_scale == 1 ? normed : normed * config_.residual_scale, where);
  };
  Tensor middle_BTD = ops::add(x_BTD,
                               joining(".attention", attend(x_BTD, state), after_attention_,
                                       site(place_.index, Site::attention_output)),
                               pass);
  if (cross_attention_) {
    const Tensor y_BTD =
        cross_attention_->forward(cross_attention_norm_->forward(middle_BTD, pass), state);
    middle_BTD = ops::add(
        middle_BTD,
        joining(".cross_attention", y_BTD, std::nullopt, kCrossAttentions + place_.index), pass);
  }
  const Tensor h_ND = feed_forward_norm_.rows(middle_BTD, pass);
  Tensor out_BTD =
      ops::add(middle_BTD,
               joining(".feed_forward", feed_forward_->forward(h_ND, state), after_feed_forward_,
                       site(place_.index, Site::feed_forward_output)),
               pass);
  if (pass.observer) pass.observer->left(name_, out_BTD);
  return out_BTD;
}

Cache::Sight TransformerBlock::sight(std::int64_t memory) const {
  const auto* xl = config_.attention.get_if<checkpoint::TransformerXl>();
  if (!xl) return {};
  return {place_.context, memory < 0 ? xl->eval_memory_blocks * place_.context : memory};
}

void TransformerBlock::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  attention_norm_.visit(name + ".attention_norm", visitor);
  attention_->visit(name + ".attention", visitor);
  if (cross_attention_) {
    cross_attention_norm_->visit(name + ".cross_attention_norm", visitor);
    cross_attention_->visit(name + ".cross_attention", visitor);
  }
  feed_forward_norm_.visit(name + ".feed_forward_norm", visitor);
  feed_forward_->visit(name + ".feed_forward", visitor);
  if (!config_.norms.after) return;
  after_attention_->visit(name + ".after_attention_norm", visitor);
  after_feed_forward_->visit(name + ".after_feed_forward_norm", visitor);
}

}  // namespace mote::model
