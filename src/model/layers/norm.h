// Layer normalisation with weight and bias, eps 1e-5.
#pragma once

#include "model/ops/layer_norm.h"
#include "model/parameters.h"

namespace mote::model {

class LayerNorm {
 public:
  explicit LayerNorm(std::int64_t dim) : dim_(dim) {}
  Tensor forward(const Tensor& x, const Pass& pass) const {
    return ops::layer_norm(x, weight_D_, bias_D_, pass);
  }
  // x [..., D] as rows [N, D].
  Tensor rows(const Tensor& x, const Pass& pass) const {
    return ops::layer_norm(x, weight_D_, bias_D_, pass, true);
  }
  void visit(const std::string& name, ParameterVisitor& visitor) {
    visitor.tensor({name + ".weight", {dim_}, {Init::Kind::ones}}, weight_D_);
    visitor.tensor({name + ".bias", {dim_}}, bias_D_);
  }

 private:
  std::int64_t dim_;
  Tensor weight_D_, bias_D_;
};

}  // namespace mote::model
