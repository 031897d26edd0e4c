// Sums on the residual stream, differentiable in both.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// x + y in the sizes of x; y has as many numbers, in the same order.
Tensor add(const Tensor& x, const Tensor& y, const Pass& pass);

// x[b, t] + table[first + t].
Tensor add_rows(const Tensor& x_BTD, const Tensor& table_PD, std::int64_t first, const Pass& pass);

}  // namespace mote::model::ops
