#include "model/routing/router.h"

#include <limits>

#include "model/layers/sites.h"
#include "model/ops/dropout.h"

namespace mote::model {

ops::Assignment Router::route(const Tensor& x_ND, ForwardState& state) const {
  const Pass& pass = state.pass;
  // Scores are float32 whatever the precision of the other products.
  Pass exact = pass;
  exact.precision = kernels::Precision::f32;
  const Tensor scores_NE = score_.forward(x_ND, exact);
  Tensor ranked_NE = scores_NE, keep_NE;
  if (pass.train && config_.expert_dropout > 0) {
    keep_NE = ops::bernoulli_mask(
        scores_NE.size(0), experts_, config_.expert_dropout,
        pass.rng(Purpose::expert_dropout, site(place_.index, Site::experts)), pass);
    ranked_NE =
        scores_NE.detach().masked_fill(keep_NE == 0, -std::numeric_limits<float>::infinity());
  }
  const std::int64_t tokens = scores_NE.size(0), k = config_.experts_per_token;
  const Tensor expert_R = ops::topk(ranked_NE, k, pass);
  if (pass.train && config_.entropy_weight > 0 && scores_NE.size(0) > 0)
    state.routing.push_back({name_, log_mean_probability(scores_NE), config_.entropy_weight});
  return {experts_, ops::equal_rows(tokens, k, pass), expert_R,
          ops::sigmoid_gates(scores_NE, keep_NE, expert_R, k, pass)};
}

void Router::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  score_.visit(matrix(name + ".weight", {experts_, place_.dim},
                      {Init::Kind::row_normalized, place_.initial_std(place_.dim)}),
               visitor);
}

}  // namespace mote::model
