// E experts of two matrices: expert e turns x into down_e relu(up_e x). Applied to routed rows.
#pragma once

#include <functional>

#include "model/experts/router.h"

namespace mote::model {

class ExpertBank {
 public:
  explicit ExpertBank(const ModelConfig& config) : config_(config) {}

  // y[n] = sum_k gate[n,k] * expert(x[n]).
  Tensor forward(const Tensor& x_ND, const Routing& routing, const Pass& pass) const;
  void visit(const std::string& name, ParameterVisitor& visitor);

  // The two matrices, for those who compress or replace them.
  WeightPtr up, down;

 private:
  const ModelConfig config_;
};

}  // namespace mote::model
