// Lookup layers: product keys and a bank of rows.
//
//   ProductKey   a memory of values (arXiv 1907.05242; specs/sparse-ffn.md 2.3)
//                dense_head_sum: y = gates of all N values, from scores summed over heads, times V
//                gated output: (y * silu(W1 x)) W2 (Memory+, arXiv 2412.09764)
//   Peer         a million tiny experts (arXiv 2407.04153; specs/peer.md 1.1)
// Heads take from the same bank and are summed.
#pragma once

#include "model/banks/rows.h"
#include "model/layers/feed_forward.h"
#include "model/linear.h"
#include "model/routing/product_key_router.h"

namespace mote::model {

class ProductKey final : public FeedForward {
 public:
  ProductKey(const checkpoint::ProductKey& config, const LayerPlace& place);
  Tensor forward(const Tensor& x_ND, ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  const checkpoint::ProductKey config_;
  const LayerPlace place_;
  std::string name_;
  ProductKeyRouter router_;
  ValueBank values_;     // sparse
  Linear dense_values_;  // dense_head_sum: a matrix, of which every step uses all
  Linear gate_, output_;
};

class Peer final : public FeedForward {
 public:
  Peer(const checkpoint::Peer& config, const LayerPlace& place);
  Tensor forward(const Tensor& x_ND, ForwardState& state) const override;
  void visit(const std::string& name, ParameterVisitor& visitor) override;

 private:
  std::string name_;
  ProductKeyRouter router_;
  NeuronBank experts_;
};

}  // namespace mote::model
