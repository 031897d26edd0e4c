// The fused expert layer of kernels/linear/experts, differentiable in x, up, down and the gates.
// For backward it keeps x, u and the gates (and the index): N*D + R*G + R numbers.
#pragma once

#include <memory>

#include "model/ops/routes.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

Tensor experts(const Tensor& x_ND, const Tensor& up_EGD, const Tensor& down_EDG,
               const Tensor& gates_NK, std::shared_ptr<const SortedRoutes> routes,
               const Pass& pass);

// y[n] = sum_k gates[n,k] * p[position[n,k]], for experts whose products were made elsewhere;
// differentiable in p and the gates.
Tensor combine(const Tensor& p_RD, const Tensor& gates_NK,
               std::shared_ptr<const SortedRoutes> routes, const Pass& pass);

}  // namespace mote::model::ops
