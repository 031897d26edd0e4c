// Banks of as many experts as a table has rows.
//
//   values    y[n] = sum_r gate[r] v[e_r]                           product-key memories
//   neurons   y[n] = sum_r gate[r] act(<up[e_r], x[n]>) down[e_r]   PEER: experts of one hidden unit
//             gated: times <gate[e_r], x[n]> as well
// The tables start as in specs/sparse-ffn.md 2.3 and specs/peer.md 1.4: values normal with standard
// deviation sqrt(2 / (L d)), or with N or h k for d; up and gate sqrt(1 / d), down so that the layer's
// output has variance 1 / (2 L).
#pragma once

#include "model/forward_state.h"
#include "model/layer_place.h"
#include "model/ops/table_rows.h"
#include "model/parameters.h"

namespace mote::model {

class ValueBank {
 public:
  ValueBank(const checkpoint::ProductKey& config, const LayerPlace& place)
      : config_(config), place_(place) {}
  Tensor forward(const Tensor& x_ND, const ops::Assignment& assignment, ForwardState& state) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  const checkpoint::ProductKey config_;
  const LayerPlace place_;
  RowTablePtr table_;
};

class NeuronBank {
 public:
  NeuronBank(const checkpoint::Peer& config, const LayerPlace& place)
      : config_(config),
        experts_(config.experts * (config.separate_tables ? config.router.heads : 1)),
        place_(place) {}
  Tensor forward(const Tensor& x_ND, const ops::Assignment& assignment, ForwardState& state) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  const checkpoint::Peer config_;
  const std::int64_t experts_;  // of all heads
  const LayerPlace place_;
  RowTablePtr up_, gate_, down_;
};

}  // namespace mote::model
