#include "model/layers/mixture.h"

#include "model/observer.h"

namespace mote::model {

Mixture::Mixture(const checkpoint::Mixture& config, const LayerPlace& place)
    : router_(config.router, config.experts, config.init.scale, place), bank_(config, place) {}

Tensor Mixture::forward(const Tensor& x_ND, ForwardState& state) const {
  const ops::Assignment assignment = router_.route(x_ND, bank_, state);
  if (state.pass.observer) state.pass.observer->routed(name_, assignment);
  return bank_.forward(x_ND, assignment, state.pass);
}

void Mixture::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  router_.visit(name + ".router", bank_, visitor);
  bank_.visit(name + ".experts", visitor);
}

}  // namespace mote::model
