// The fused expert layer of kernels/linear/experts, differentiable in x, up, down and the gates.
// For backward it keeps x, u and the gates (and the index): N*D + R*G + R numbers.
#pragma once

#include "model/ops/routes.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

Tensor experts(const Tensor& x_ND, const Tensor& up_EGD, const Tensor& down_EDG,
               const Tensor& gate_R, const SortedRoutes& routes, const Pass& pass);

// y[n] = sum of gate[r] * p[position[r]] over the rows r of token n, for experts whose products were
// made elsewhere; differentiable in p, which is in sorted order, and the gates.
Tensor combine(const Tensor& p_RD, const Tensor& gate_R, const SortedRoutes& routes,
               const Pass& pass);

}  // namespace mote::model::ops
