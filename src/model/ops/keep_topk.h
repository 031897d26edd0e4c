// Of every row of x [N, F], the outputs of a ReLU, the K largest (kernels/routing/keep_topk); what stays
// and is positive has its gradient, what becomes or was 0 none.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

Tensor keep_topk(const Tensor& x_NF, std::int64_t k, const Pass& pass);

}  // namespace mote::model::ops
