// y = W2 drop(relu(W1 x + b1)) + b2 (specs/sparse-ffn 2.1).
#pragma once

#include "model/layers/feed_forward.h"
#include "model/linear.h"

namespace mote::model {

class DenseFeedForward final : public FeedForward {
 public:
  DenseFeedForward(const checkpoint::Dense& config, double dropout, const LayerPlace& place)
      : config_(config), dropout_(dropout), place_(place) {}
  Tensor forward(const Tensor& x_ND, ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  const checkpoint::Dense config_;
  const double dropout_;
  const LayerPlace place_;
  Linear up_, down_;
};

}  // namespace mote::model
