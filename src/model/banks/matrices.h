// A bank of E experts of two matrices: expert e turns x into down_e relu(up_e x).
#pragma once

#include "model/layer_place.h"
#include "model/linear.h"

namespace mote::model {

class MatrixBank {
 public:
  // `per_token`: experts a token uses, of the `experts` there are.
  MatrixBank(std::int64_t experts, std::int64_t width, std::int64_t per_token,
             const LayerPlace& place)
      : experts_(experts), width_(width), per_token_(per_token), place_(place) {}

  // y[n] = sum of gate[r] * expert_r(x[n]) over the rows r of token n; 0 where it has none.
  Tensor forward(const Tensor& x_ND, const ops::Assignment& assignment, const Pass& pass) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

 private:
  bool fused(const Pass& pass) const;

  const std::int64_t experts_, width_, per_token_;
  const LayerPlace place_;
  Linear up_, down_;
};

}  // namespace mote::model
