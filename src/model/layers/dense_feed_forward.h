// y = W2 drop(relu(W1 x + b1)) + b2 (specs/sparse-ffn 2.1).
#pragma once

#include "model/feed_forward.h"

namespace mote::model {

class DenseFeedForward final : public FeedForward {
 public:
  DenseFeedForward(const ModelConfig& config, std::int64_t layer)
      : config_(config), layer_(layer) {}
  FeedForwardResult forward(const TokenBatch& batch) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  const ModelConfig config_;
  const std::int64_t layer_;
  WeightPtr up_, down_;
  Tensor up_bias_, down_bias_;
};

}  // namespace mote::model
