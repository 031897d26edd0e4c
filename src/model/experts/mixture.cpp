#include "model/experts/mixture.h"

namespace mote::model {

Mixture::Mixture(const ModelConfig& config, std::int64_t layer)
    : router_(std::make_unique<SigmoidRouter>(config, layer)), bank_(config) {}

FeedForwardResult Mixture::forward(const TokenBatch& batch) const {
  Routing routing = router_->route(batch);
  return {.y_ND = bank_.forward(batch.x_ND, routing, batch.pass),
          .penalty = routing.penalty,
          .usage = Usage{routing.routes, routing.gates_NK},
          .router_state = routing.router_state};
}

void Mixture::visit(const std::string& name, ParameterVisitor& visitor) {
  router_->visit(name + ".router", visitor);
  bank_.visit(name + ".experts", visitor);
}

}  // namespace mote::model
