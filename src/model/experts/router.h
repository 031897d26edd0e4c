// Routers: scores of every token and expert become (token, expert, weight) triples. An expert bank
// consumes them.
#pragma once

#include <memory>

#include "model/feed_forward.h"

namespace mote::model {

struct Routing {
  Tensor gates_NK;  // differentiable in the scores
  std::shared_ptr<const ops::SortedRoutes> routes;
  Tensor penalty;  // undefined: none
  Tensor router_state;
};

class Router {
 public:
  virtual ~Router() = default;
  virtual Routing route(const TokenBatch& batch) const = 0;
  virtual void visit(const std::string& name, ParameterVisitor& visitor) = 0;
};

// sigma-MoE (specs/sparse-ffn 2.4): z = W3 x, gates sigmoid(z), the K largest z; in training each
// expert is hidden from a token with probability delta, and gamma * sum_e p_e ln p_e is added to
// the loss, p the mean over tokens of softmax(z) of the raw scores. A hidden expert ranks last and
// has gate 0 if it is picked all the same.
class SigmoidRouter final : public Router {
 public:
  SigmoidRouter(const ModelConfig& config, std::int64_t layer) : config_(config), layer_(layer) {}
  Routing route(const TokenBatch& batch) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  const ModelConfig config_;
  const std::int64_t layer_;
  WeightPtr weight_;
};

// sum_e p_e ln p_e for scores [N, E]; 0 for no rows. Finite for any finite scores.
Tensor entropy_penalty(const Tensor& scores_NE);

}  // namespace mote::model
