#include "model/experts/router.h"

#include <cmath>
#include <limits>

#include "model/layers/sites.h"
#include "model/ops/dropout.h"

namespace mote::model {

Tensor entropy_penalty(const Tensor& scores_NE) {
  if (scores_NE.size(0) == 0) return scores_NE.sum();
  const Tensor log_p_NE = torch::log_softmax(scores_NE, -1);
  const Tensor log_mean_E =
      torch::logsumexp(log_p_NE, {0}) - std::log(static_cast<double>(scores_NE.size(0)));
  return (log_mean_E * log_mean_E.exp()).sum();
}

Routing SigmoidRouter::route(const TokenBatch& batch) const {
  const FeedForwardConfig& ff = config_.feed_forward;
  const Pass& pass = batch.pass;
  // Scores are float32 whatever the precision of the other products.
  Pass exact = pass;
  exact.precision = kernels::Precision::f32;
  const Tensor scores_NE = weight_->multiply(batch.x_ND, nullptr, {}, exact);
  Tensor ranked_NE = scores_NE, gates_NE = torch::sigmoid(scores_NE);
  if (pass.train && ff.expert_dropout > 0) {
    const Tensor keep_NE =
        ops::bernoulli_mask(scores_NE.size(0), ff.experts, ff.expert_dropout,
                            pass.rng(Purpose::expert_dropout, site(layer_, Site::experts)), pass);
    ranked_NE =
        scores_NE.detach().masked_fill(keep_NE == 0, -std::numeric_limits<float>::infinity());
    gates_NE = gates_NE * keep_NE;
  }
  const Tensor experts_NK = ops::topk(ranked_NE, ff.experts_per_token, pass);
  Routing routing;
  routing.gates_NK = gates_NE.gather(1, experts_NK.to(torch::kInt64));
  routing.routes = std::make_shared<ops::SortedRoutes>(ops::sort_routes(experts_NK, ff.experts));
  if (pass.train && ff.entropy_weight > 0)
    routing.penalty = ff.entropy_weight * entropy_penalty(scores_NE);
  return routing;
}

void SigmoidRouter::visit(const std::string& name, ParameterVisitor& visitor) {
  const double std = std::sqrt(2.0 / static_cast<double>(config_.layers * config_.dim));
  visitor.matrix(name + ".weight", weight_, {1, config_.feed_forward.experts, config_.dim},
                 {Init::Kind::row_normalized, std});
}

}  // namespace mote::model
