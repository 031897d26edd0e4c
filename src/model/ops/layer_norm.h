// Layer norm and RMS norm over the last axis (kernels/sequence/norm), differentiable in x, weight and
// bias.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

struct NormOptions {
  double epsilon = 1e-5;
  bool centred = true;       // false: an RMS norm
  double weight_offset = 0;  // added to the weight
};

// Of the sizes of x; with `flat`, [N, D]. bias: [D] or undefined.
Tensor layer_norm(const Tensor& x, const Tensor& weight_D, const Tensor& bias_D,
                  const NormOptions& options, const Pass& pass, bool flat = false);

}  // namespace mote::model::ops
