// Output layer and cross-entropy of kernels/loss/head_loss: the mean loss, differentiable, and the
// loss of every token.
#pragma once

#include "model/weight.h"

namespace mote::model::ops {

struct HeadLossResult {
  Tensor mean;    // a scalar, over the rows with a target; differentiable in x, weight and bias
  Tensor each_N;  // nats; 0 where the target is negative
};

// x [N, D], weight [V, D] of any storage, bias [V] or undefined, targets int64 [N] (negative: not
// counted). A packed matrix is multiplied where it lies, or unpacked where gradients are recorded.
HeadLossResult head_loss(const Tensor& x_ND, const WeightPtr& weight, const Tensor& bias_V,
                         const Tensor& targets_N, const Pass& pass);

}  // namespace mote::model::ops
