// One block of the pre-norm transformer: x += attention(norm(x)); x += feed_forward(norm(x)),
// dropout after each; with norms.after, x += norm(attention(norm(x))) and so on; what is added is
// multiplied by residual_scale. Between the two, a decoder that reads a source has x += cross
// attention(norm(x)).
#pragma once

#include <optional>

#include "model/layers/attention.h"
#include "model/layers/cross_attention.h"
#include "model/layers/feed_forward.h"
#include "model/layers/norm.h"

namespace mote::model {

class TransformerBlock {
 public:
  TransformerBlock(const LayerConfig& config, const LayerPlace& place);

  // x_BTD: the residual stream. Attention sees what the state's memory or cache holds of the past,
  // and the positions of x up to each.
  Tensor forward(const Tensor& x_BTD, ForwardState& state) const;
  // What it will want of a source, into the cache.
  void remember_source(const Tensor& source_BSD, Cache& cache, const Pass& pass) const {
    cross_attention_->remember(source_BSD, cache, pass);
  }
  void visit(const std::string& name, ParameterVisitor& visitor);
  // How far back a cache of it must reach; `memory` < 0: as the config says.
  Cache::Sight sight(std::int64_t memory) const;

 private:
  Tensor attend(const Tensor& x_BTD, ForwardState& state) const;

  const LayerConfig config_;
  const LayerPlace place_;
  std::string name_;
  Norm attention_norm_, feed_forward_norm_;
  std::optional<Norm> after_attention_, after_feed_forward_;
  std::unique_ptr<Attention> attention_;
  std::optional<Norm> cross_attention_norm_;
  std::optional<CrossAttention> cross_attention_;
  std::unique_ptr<FeedForward> feed_forward_;
};

}  // namespace mote::model
