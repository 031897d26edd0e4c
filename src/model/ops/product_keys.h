// The best of n * n product keys for every query (kernels/lookup/product_keys), differentiable in the
// scores; what was found has no gradient.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

struct KeysFound {
  Tensor index_NHK;  // int32
  Tensor score_NHK;
};

// q [N, H, 2c], of heads with strides of their own or one for all (expanded); keys [S, 2, n, c], S = 1
// or H.
KeysFound product_keys(const Tensor& q_NHC, const Tensor& keys_S2nC, std::int64_t k,
                       const Pass& pass);

}  // namespace mote::model::ops
