// Layer normalisation with weight and bias, eps 1e-5.
#pragma once

#include "model/parameters.h"

namespace mote::model {

class LayerNorm {
 public:
  explicit LayerNorm(std::int64_t dim) : dim_(dim) {}
  Tensor forward(const Tensor& x) const {
    return torch::layer_norm(x, {dim_}, weight_D, bias_D, 1e-5);
  }
  void visit(const std::string& name, ParameterVisitor& visitor) {
    visitor.tensor(name + ".weight", weight_D, {dim_}, {Init::Kind::ones});
    visitor.tensor(name + ".bias", bias_D, {dim_}, {Init::Kind::zeros});
  }

 private:
  std::int64_t dim_;
  Tensor weight_D, bias_D;
};

}  // namespace mote::model
