// A bank of E experts of two matrices, or gated ones of three:
//
//   down_e drop(act(up_e x + b_e)) + c_e,  or  down_e drop(act(gate_e x + a_e) (up_e x + b_e)) + c_e
// a, b and c only with `bias`; a limit, an offset and silu's alpha as in kernels/linear/gated.
// With a key rank r the first matrices are up_e D, D [r, d] shared by all (LoRKM; specs/related 3): the
// bank multiplies D x by up_e [G, r].
#pragma once

#include "model/layer_place.h"
#include "model/linear.h"

namespace mote::model {

class MatrixBank {
 public:
  MatrixBank(const checkpoint::Mixture& config, const LayerPlace& place)
      : config_(config), place_(place) {}

  // y[n] = sum of the assignment's gate[r] * expert_r(x[n]) over the rows r of token n; 0 where it has
  // none.
  Tensor forward(const Tensor& x_ND, const ops::Assignment& assignment, const Pass& pass) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

  // What `up` multiplies: x, or D x.
  Tensor keyed(const Tensor& x_ND, const Pass& pass) const;
  std::int64_t key_dim() const { return config_.key_rank > 0 ? config_.key_rank : place_.dim; }
  const WeightPtr& up() const { return up_.weight(); }

 private:
  bool fused(const Pass& pass) const;
  // In sorted order.
  Tensor hidden(const Tensor& x_ND, const ops::StackRows& rows, const Pass& pass) const;

  const checkpoint::Mixture config_;
  const LayerPlace place_;
  Linear basis_, gate_, up_, down_;
};

}  // namespace mote::model
