// The fused expert layer of kernels/linear/experts.
//
// Where gradients are recorded, experts are relu's of two float32 matrices with leaves, and the layer
// is differentiable in x, up, down and the gates; for backward it keeps x, u and the gates (and the
// index): N*D + R*G + R numbers. Elsewhere experts are of any unit, with a third matrix or without,
// of any weights that have a stack().
#pragma once

#include "kernels/linear/gated/gated.h"
#include "model/weight.h"

namespace mote::model::ops {

struct ExpertWeights {
  const Weight* gate;  // null: experts are of two matrices
  const Weight &up, &down;
  kernels::Unit unit;
};
Tensor experts(const Tensor& x_ND, const ExpertWeights& weights, const Tensor& gate_R,
               const SortedRoutes& routes, const Pass& pass);

// y[n] = sum of gate[r] * p[position[r]] over the rows r of token n, for experts whose products were
// made elsewhere; differentiable in p, which is in sorted order, and the gates.
Tensor combine(const Tensor& p_RD, const Tensor& gate_R, const SortedRoutes& routes,
               const Pass& pass);

}  // namespace mote::model::ops
