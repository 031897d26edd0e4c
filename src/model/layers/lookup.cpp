#include "model/layers/lookup.h"

#include "model/layers/sites.h"
#include "model/observer.h"
#include "model/ops/dropout.h"

namespace mote::model {
namespace {

template <class Bank>
Tensor looked_up(const Tensor& x_ND, const ProductKeyRouter& router, const Bank& bank,
                 const std::string& name, ForwardState& state) {
  const ops::Assignment assignment = router.route(x_ND, state);
  if (state.pass.observer) state.pass.observer->routed(name, assignment);
  return bank.forward(x_ND, assignment, state);
}

}  // namespace

ProductKey::ProductKey(const checkpoint::ProductKey& config, const LayerPlace& place)
    : config_(config),
      place_(place),
      router_(config.router, config.values, place),
      values_(config, place) {}

Tensor ProductKey::forward(const Tensor& x_ND, ForwardState& state) const {
  Tensor y_ND = config_.mode == checkpoint::MemoryMode::sparse
                    ? looked_up(x_ND, router_, values_, name_, state)
                    : dense_values_.forward(router_.head_sum(x_ND, state), state.pass);
  y_ND = ops::dropout(y_ND, config_.value_dropout, site(place_.index, Site::feed_forward_hidden),
                      state.pass);
  if (!config_.gated_output) return y_ND;
  return output_.forward(y_ND * torch::silu(gate_.forward(x_ND, state.pass)), state.pass);
}

void ProductKey::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  const std::int64_t d = place_.dim;
  router_.visit(name + ".router", visitor);
  if (config_.mode == checkpoint::MemoryMode::sparse) {
    values_.visit(name + ".values", visitor);
  } else {
    const bool wide = config_.value_init == checkpoint::ValueInit::values;
    dense_values_.visit(matrix(name + ".dense_values.weight", {d, config_.values},
                               {Init::Kind::normal, place_.initial_std(wide ? config_.values : d)}),
                        visitor);
  }
  if (!config_.gated_output) return;
  const Init init{Init::Kind::exact_normal, place_.initial_std(d)};
  gate_.visit(matrix(name + ".gate.weight", {d, d}, init), visitor);
  output_.visit(matrix(name + ".output.weight", {d, d}, init), visitor);
}

Peer::Peer(const checkpoint::Peer& config, const LayerPlace& place)
    : router_(config.router, config.experts, place, config.separate_tables),
      experts_(config, place) {}

Tensor Peer::forward(const Tensor& x_ND, ForwardState& state) const {
  return looked_up(x_ND, router_, experts_, name_, state);
}

void Peer::visit(const std::string& name, ParameterVisitor& visitor) {
  name_ = name;
  router_.visit(name + ".router", visitor);
  experts_.visit(name + ".experts", visitor);
}

}  // namespace mote::model
