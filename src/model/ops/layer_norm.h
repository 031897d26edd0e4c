// Layer normalisation over the last axis (kernels/sequence/norm), differentiable in x, weight and
// bias.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// Of the sizes of x; with `flat`, [N, D].
Tensor layer_norm(const Tensor& x, const Tensor& weight_D, const Tensor& bias_D, const Pass& pass,
                  bool flat = false);

}  // namespace mote::model::ops
