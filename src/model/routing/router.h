// Routers: scores of every token and expert become an assignment of tokens to experts, ragged, which
// a bank consumes.
//
// sigma-MoE (specs/sparse-ffn 2.4): z = W3 x, gates sigmoid(z), the K largest z; in training each
// expert is hidden from a token with probability delta, and gamma * sum_e p_e ln p_e is added to
// the loss, p the mean over tokens of softmax(z) of the raw scores. A hidden expert ranks last and
// has gate 0 if it is picked all the same.
#pragma once

#include "model/forward_state.h"
#include "model/layer_place.h"
#include "model/linear.h"

namespace mote::model {

class Router {
 public:
  Router(const checkpoint::RouterConfig& config, std::int64_t experts, const LayerPlace& place)
      : config_(config), experts_(experts), place_(place) {}
  ops::Assignment route(const Tensor& x_ND, ForwardState& state) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  const checkpoint::RouterConfig config_;
  const std::int64_t experts_;
  const LayerPlace place_;
  std::string name_;
  Linear score_;
};

}  // namespace mote::model
