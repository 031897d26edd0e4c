// Hidden units of a feed-forward layer (kernels/linear/gated), differentiable in both inputs.
#pragma once

#include "kernels/linear/gated/gated.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// act(g) * (u + offset), or act(g) where u is undefined; g and u [..., D], of one size.
Tensor gated(const Tensor& g, const Tensor& u, const kernels::Unit& unit, const Pass& pass);

}  // namespace mote::model::ops
