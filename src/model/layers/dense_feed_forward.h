// y = W2 keep(drop(act(W1 x + b1))) + b2 (specs/sparse-ffn 2.1): all hidden units are kept, or of every
// token the K largest (top-K activation, 2.2). Gated: y = W2 drop(act(Wg x + bg) * (W1 x + b1)) + b2.
#pragma once

#include "model/layers/feed_forward.h"
#include "model/linear.h"

namespace mote::model {

class DenseFeedForward final : public FeedForward {
 public:
  DenseFeedForward(const checkpoint::Dense& config, double dropout, const LayerPlace& place)
      : config_(config), kept_(config.width), dropout_(dropout), place_(place) {}
  DenseFeedForward(const checkpoint::TopK& config, double dropout, const LayerPlace& place)
      : config_{config.width}, kept_(config.units_per_token), dropout_(dropout), place_(place) {}
  Tensor forward(const Tensor& x_ND, ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  Tensor hidden(const Tensor& x_ND, const Pass& pass) const;

  const checkpoint::Dense config_;
  const std::int64_t kept_;
  const double dropout_;
  const LayerPlace place_;
  Linear gate_, up_, down_;
};

}  // namespace mote::model
