#include "model/experts/bank.h"

#include <cmath>

#include "model/ops/experts.h"

namespace mote::model {

Tensor ExpertBank::forward(const Tensor& x_ND, const Routing& routing, const Pass& pass) const {
  if (up->storage() == "f32" && down->storage() == "f32")
    return ops::experts(x_ND, up->to_dense(), down->to_dense(), routing.gates_NK, routing.routes,
                        pass);
  const Tensor rows_RD = x_ND.index_select(0, routing.routes->token_R);
  const Tensor u_RG = up->multiply(rows_RD, routing.routes.get(), {}, pass).relu_();
  return ops::combine(down->multiply(u_RG, routing.routes.get(), {}, pass), routing.gates_NK,
                      *routing.routes, pass);
}

void ExpertBank::visit(const std::string& name, ParameterVisitor& visitor) {
  const FeedForwardConfig& ff = config_.feed_forward;
  const auto std_of = [&](std::int64_t fan_in) {
    return Init{Init::Kind::normal, std::sqrt(2.0 / static_cast<double>(config_.layers * fan_in))};
  };
  visitor.matrix(name + ".up", up, {ff.experts, ff.expert_width, config_.dim, true},
                 std_of(config_.dim));
  // The fan-in of the second product is the whole width E * G: all experts together are one layer.
  visitor.matrix(name + ".down", down, {ff.experts, config_.dim, ff.expert_width, true},
                 std_of(ff.experts * ff.expert_width));
}

}  // namespace mote::model
