// The one product with a weight, whatever its storage, and its gradients:
//
//   one matrix   y = act(x W^T + b)        dz = dy act'(y)   dx = dz W   dW = dz^T x   db = sum dz
//   a stack      y_r = act(W_e x_r)        the same for the rows of each expert e
// The gradient to x is right for every storage. A weight without a leaf (frozen, or packed) gets
// none and costs none. Where nothing records gradients, only the product is made.
#pragma once

#include "model/weight.h"

namespace mote::model::ops {

// x [..., in], bias [out] or undefined; y [..., out].
Tensor product(const Tensor& x, const WeightPtr& weight, const Tensor& bias, const Pass& pass,
               kernels::Activation activation = kernels::Activation::none);

// A stack: x [N, in] by token, or [R, in] in sorted order; y [R, out] in sorted order. The gradient of
// a token without rows is 0.
Tensor product(const Tensor& x, const WeightPtr& weight, const StackRows& rows, const Pass& pass,
               kernels::Activation activation = kernels::Activation::none);

// Rows `ids` of the matrix, differentiable in it.
Tensor embedding(const WeightPtr& weight, const Tensor& ids, const Pass& pass);

}  // namespace mote::model::ops
