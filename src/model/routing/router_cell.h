// The cell that recurrent routers of all layers share (RMoE, arXiv 2408.06793; specs/related 2): a GRU
// over depth, token by token.
//
//   r = sigma(W_ir x + b_ir + W_hr h + b_hr)      z = sigma(W_iz x + b_iz + W_hz h + b_hz)
//   n = tanh(W_in x + b_in + r (W_hn h + b_hn))   h' = (1 - z) n + z h
// `input` holds W_ir, W_iz, W_in one after the other, `hidden` the others. All in float32.
#pragma once

#include "model/parameters.h"

namespace mote::model {

class RouterCell {
 public:
  explicit RouterCell(std::int64_t state_dim) : state_dim_(state_dim) {}
  // x_NP, h_NP: [N, state_dim]; h_NP undefined: zeros.
  Tensor next(const Tensor& x_NP, const Tensor& h_NP) const;
  void visit(const std::string& name, ParameterVisitor& visitor);
  std::int64_t state_dim() const { return state_dim_; }

 private:
  const std::int64_t state_dim_;
  Tensor input_weight_, hidden_weight_, input_bias_, hidden_bias_;
};

}  // namespace mote::model
