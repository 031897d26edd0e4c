// The attention step of kernels/sequence/attention, differentiable in all tensors.
#pragma once

#include "kernels/sequence/attention/attention.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// What relative positions need; all undefined for plain attention.
struct RelativeTerms {
  Tensor r_DHC, u_HC, w_HC;
};

// q [B, T, H * C], k and v [B, S, H * C] (any strides but the last), of which the first `keys`
// positions count; scale a tensor with one element. Returns o [B, T, H * C].
Tensor attention(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI, std::int64_t heads,
                 std::int64_t keys, const RelativeTerms& relative, const Tensor& scale,
                 const kernels::AttentionSight& sight, const Pass& pass);

}  // namespace mote::model::ops
