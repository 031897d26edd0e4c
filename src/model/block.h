// One block of the pre-norm transformer: x += attention(norm(x)); x += feed_forward(norm(x)),
// dropout after each.
#pragma once

#include "model/feed_forward.h"
#include "model/layers/attention.h"
#include "model/layers/norm.h"

namespace mote::model {

struct BlockResult {
  Tensor x_BTD;
  Tensor penalty;
  std::optional<Usage> usage;
  Tensor router_state;
};

class TransformerBlock {
 public:
  TransformerBlock(const ModelConfig& config, std::int64_t layer);

  // x_BTD: the residual stream. Attention sees the positions of `memory_BMD` (the residual stream
  // that entered this block before, without gradient; undefined: nothing) and those of x up to each
  // position.
  BlockResult forward(const Tensor& x_BTD, const Tensor& memory_BMD, const Tensor& router_state,
                      const Pass& pass) const;
  // The same with what attention sees in the cache.
  BlockResult forward(const Tensor& x_BTD, Cache& cache, const Tensor& router_state,
                      const Pass& pass) const;

  // The second half in two steps, for those who look between them: the rows that enter the
  // feed-forward layer, and what comes out of the block.
  Tensor attend(const Tensor& x_BTD, Cache& cache, const Pass& pass) const;
  Tensor feed_forward_input(const Tensor& x_BTD, const Pass& pass) const;
  BlockResult finish(const Tensor& x_BTD, const Tensor& router_state, const Pass& pass) const;

  void visit(const std::string& name, ParameterVisitor& visitor);
  FeedForward& feed_forward() { return *feed_forward_; }

 private:
  Tensor add_attention(const Tensor& x_BTD, const Tensor& y_BTD, const Pass& pass) const;

  const ModelConfig config_;
  const std::int64_t layer_;
  LayerNorm attention_norm_, feed_forward_norm_;
  SelfAttention attention_;
  std::unique_ptr<FeedForward> feed_forward_;
};

}  // namespace mote::model
