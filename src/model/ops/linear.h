// y = x W^T + b for x [..., I], W [O, I], b [O] or undefined; differentiable in all three.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

Tensor linear(const Tensor& x, const Tensor& weight_OI, const Tensor& bias_O, const Pass& pass);

}  // namespace mote::model::ops
