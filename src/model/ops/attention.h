// The attention step of kernels/sequence/attention, differentiable in all tensors but the lengths.
#pragma once

#include "kernels/sequence/attention/attention.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// Query heads, and the heads of keys and values that they share; how many positions of k and v
// count, from the first on.
struct AttentionShape {
  std::int64_t heads, key_heads, keys;
};

// What a score has beside the product of query and key, and a softmax beside its scores; each
// undefined where there is none. w needs r.
struct AttentionTerms {
  Tensor r_DHC = {}, u_HC = {}, w_HC = {};  // relative positions
  Tensor bias_HD = {};                      // by distance, from bias_farthest down
  std::int64_t bias_farthest = 0;
  Tensor sink_H = {};
  Tensor lengths_B = {};  // int32: how many of a sequence's keys there are
};

// q [B, T, H * C], k [B, S, G * C], v [B, S, G * E] (any strides), H a multiple of G; scale a tensor
// with one element. Returns o [B, T, H * E]. With gradients all positions of k and v count.
Tensor attention(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI,
                 const AttentionShape& shape, const AttentionTerms& terms, const Tensor& scale,
                 const kernels::AttentionSight& sight, const Pass& pass);

}  // namespace mote::model::ops
