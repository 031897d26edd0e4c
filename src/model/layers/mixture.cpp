#include "model/layers/mixture.h"

#include "model/observer.h"

namespace mote::model {

Mixture::Mixture(const checkpoint::Mixture& config, const LayerPlace& place)
    : router_(config.router, config.experts, config.init.scale, place),
      bank_(config, place),
      shared_gated_(config.shared.gated_output),
      dim_(place.dim) {
  if (config.shared.width > 0)
    shared_.emplace(checkpoint::Dense{config.shared.width, config.activation, config.gated, false},
                    config.hidden_dropout, place);
}

Tensor Mixture::forward(const Tensor& x_ND, ForwardState& state) const {
  const ops::Assignment assignment = router_.route(x_ND, bank_, state);
  if (state.pass.observer) state.pass.observer->routed(name_, assignment);
  const Tensor routed_ND = bank_.forward(x_ND, assignment, state.pass);
  if (!shared_) return routed_ND;
  Tensor shared_ND = shared_->forward(x_ND, state);
  if (shared_gated_) shared_ND = shared_ND * shared_gate_.forward(x_ND, state.pass).sigmoid();
  return routed_ND + shared_ND;
}

void Mixture::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  router_.visit(name + ".router", bank_, visitor);
  bank_.visit(name + ".experts", visitor);
  if (shared_) shared_->visit(name + ".shared", visitor);
  if (shared_gated_)
    shared_gate_.visit(matrix(name + ".shared_gate.weight", {1, dim_},
                              {Init::Kind::normal, 1 / std::sqrt(static_cast<double>(dim_))}),
                       visitor);
}

}  // namespace mote::model
