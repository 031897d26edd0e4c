#include "model/layers/mixture.h"

#include "model/observer.h"

namespace mote::model {

Mixture::Mixture(const checkpoint::Mixture& config, const LayerPlace& place)
    : router_(config.router, config.experts, place),
      bank_(config.experts, config.expert_width, config.router.experts_per_token, place) {}

Tensor Mixture::forward(const Tensor& x_ND, ForwardState& state) const {
  const ops::Assignment assignment = router_.route(x_ND, state);
  if (state.pass.observer) state.pass.observer->routed(name_, assignment);
  return bank_.forward(x_ND, assignment, state.pass);
}

void Mixture::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  router_.visit(name + ".router", visitor);
  bank_.visit(name + ".experts", visitor);
}

}  // namespace mote::model
