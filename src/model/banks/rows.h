// Banks of as many experts as a table has rows.
//
//   values    y[n] = sum_r gate[r] v[e_r]                           product-key memories
//   neurons   y[n] = sum_r gate[r] act(<up[e_r], x[n]>) down[e_r]   PEER: experts of one hidden unit
// The tables start as in specs/sparse-ffn.md 2.3 and specs/peer.md 1.4: values normal with standard
// deviation sqrt(2 / (L d)); up sqrt(1 / d), down so that the layer's output has variance 1 / (2 L).
#pragma once

#include "model/layer_place.h"
#include "model/ops/table_rows.h"
#include "model/parameters.h"

namespace mote::model {

class ValueBank {
 public:
  ValueBank(std::int64_t values, std::int64_t per_token, const LayerPlace& place)
      : values_(values), per_token_(per_token), place_(place) {}
  Tensor forward(const Tensor& x_ND, const ops::Assignment& assignment, const Pass& pass) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  const std::int64_t values_, per_token_;
  const LayerPlace place_;
  RowTablePtr table_;
};

class NeuronBank {
 public:
  // Heads of `per_head` experts each.
  NeuronBank(std::int64_t experts, checkpoint::NeuronActivation activation, std::int64_t heads,
             std::int64_t per_head, const LayerPlace& place)
      : experts_(experts),
        activation_(activation),
        heads_(heads),
        per_head_(per_head),
        place_(place) {}
  Tensor forward(const Tensor& x_ND, const ops::Assignment& assignment, const Pass& pass) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  const std::int64_t experts_;
  const checkpoint::NeuronActivation activation_;
  const std::int64_t heads_, per_head_;
  const LayerPlace place_;
  RowTablePtr up_, down_;
};

}  // namespace mote::model
