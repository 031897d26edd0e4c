// A mixture of experts: a router and a bank.
#pragma once

#include "model/banks/matrices.h"
#include "model/layers/feed_forward.h"
#include "model/routing/router.h"

namespace mote::model {

class Mixture final : public FeedForward {
 public:
  Mixture(const checkpoint::Mixture& config, const LayerPlace& place);
  Tensor forward(const Tensor& x_ND, ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  std::string name_;
  Router router_;
  MatrixBank bank_;
};

}  // namespace mote::model
