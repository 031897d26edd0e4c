// Routing by product keys: every head of a token takes the k best of n * n experts
// (arXiv 1907.05242; PEER, arXiv 2407.04153 section 2; specs/peer.md 1.1, specs/sparse-ffn.md 2.3).
//
//   q = query(x)            halves of x itself, the same for all heads; or W x (+ b), normed, for each head
//   I = the k best of <q[0 : c], C[i]> + <q[c : 2c], C'[j]>, expert i n + j       (ops/product_keys)
//   g = gate(scores of I / temperature)   softmax of each head's k, softmax of all heads' k together, sigmoid, relu
//
// Keys start as their papers have them: uniform in +-1/sqrt(c) beside a linear query, normal with
// standard deviation sqrt(2 / (L d)) where the input is the query. Batch norm is over all tokens of a
// step; elsewhere by running statistics, which a training step moves (momentum 0.1) once its loss is
// known to be finite.
#pragma once

#include "model/forward_state.h"
#include "model/layer_place.h"
#include "model/linear.h"

namespace mote::model {

class ProductKeyRouter {
 public:
  // `experts`: a square. With tables of their own, head a takes from the experts a N to (a + 1) N.
  ProductKeyRouter(const checkpoint::ProductKeyRouter& config, std::int64_t experts,
                   const LayerPlace& place, bool separate_tables = false);
  // Rows of a token: head by head, each by falling score.
  ops::Assignment route(const Tensor& x_ND, ForwardState& state) const;
  // Gates of all experts from scores summed over heads, without any selection: [N, n * n]. A softmax is
  // over all of them.
  Tensor head_sum(const Tensor& x_ND, ForwardState& state) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  Tensor query(const Tensor& x_ND, ForwardState& state) const;  // [N, H, C]
  Tensor batch_norm(const Tensor& q_NF, ForwardState& state) const;
  Tensor gates(const Tensor& found_NHK) const;  // of the scores that were found

  const checkpoint::ProductKeyRouter config_;
  const checkpoint::LinearQuery* linear_;  // null: the input is the query
  const std::int64_t experts_, keys_, key_dim_;
  const bool separate_tables_;
  const LayerPlace place_;
  Linear query_;
  Tensor norm_weight_, norm_bias_, running_mean_, running_var_;
  Tensor keys_S2nC_;
};

}  // namespace mote::model
