// Normalisation with a weight: layer norms, which have a bias too, and RMS norms.
#pragma once

#include "checkpoint/model_config.h"
#include "model/ops/layer_norm.h"
#include "model/parameters.h"

namespace mote::model {

class Norm {
 public:
  Norm(const checkpoint::NormsConfig& config, std::int64_t dim)
      : centred_(config.kind == checkpoint::NormKind::layer),
        options_{config.epsilon, centred_, config.weight_offset},
        dim_(dim) {}

  Tensor forward(const Tensor& x, const Pass& pass) const {
    return ops::layer_norm(x, weight_D_, bias_D_, options_, pass);
  }
  // x [..., D] as rows [N, D].
  Tensor rows(const Tensor& x, const Pass& pass) const {
    return ops::layer_norm(x, weight_D_, bias_D_, options_, pass, true);
  }
  void visit(const std::string& name, ParameterVisitor& visitor) {
    visitor.tensor({name + ".weight", {dim_}, {Init::Kind::constant, 1 - options_.weight_offset}},
                   weight_D_);
    if (centred_) visitor.tensor({name + ".bias", {dim_}}, bias_D_);
  }

 private:
  bool centred_;
  ops::NormOptions options_;
  std::int64_t dim_;
  Tensor weight_D_, bias_D_;
};

}  // namespace mote::model
