#include "model/layers/lookup.h"

#include "model/observer.h"

namespace mote::model {
namespace {

template <class Bank>
Tensor looked_up(const Tensor& x_ND, const ProductKeyRouter& router, const Bank& bank,
                 const std::string& name, ForwardState& state) {
  const ops::Assignment assignment = router.route(x_ND, state);
  if (state.pass.observer) state.pass.observer->routed(name, assignment);
  return bank.forward(x_ND, assignment, state.pass);
}

}  // namespace

ProductKey::ProductKey(const checkpoint::ProductKey& config, const LayerPlace& place)
    : router_(config.router, config.values, place),
      values_(config.values, config.router.heads * config.router.experts_per_head, place) {}

Tensor ProductKey::forward(const Tensor& x_ND, ForwardState& state) const {
  return looked_up(x_ND, router_, values_, name_, state);
}

void ProductKey::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  router_.visit(name + ".router", visitor);
  values_.visit(name + ".values", visitor);
}

Peer::Peer(const checkpoint::Peer& config, const LayerPlace& place)
    : router_(config.router, config.experts, place, config.separate_tables),
      experts_(config.experts * (config.separate_tables ? config.router.heads : 1),
               config.activation, config.router.heads, config.router.experts_per_head, place) {}

Tensor Peer::forward(const Tensor& x_ND, ForwardState& state) const {
  return looked_up(x_ND, router_, experts_, name_, state);
}

void Peer::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  router_.visit(name + ".router", visitor);
  experts_.visit(name + ".experts", visitor);
}

}  // namespace mote::model
