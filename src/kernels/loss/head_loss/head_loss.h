// The output layer and its cross-entropy in one pass over rows, so that the [N, V] logits are never
// stored whole:
//
//   logits = x W^T + b,   loss_N[n] = log sum_v exp(logits[n,v]) - logits[n, target[n]]      (nats)
// and, where gradient outputs are given, of  total = scale * sum_n loss_N[n]:
//   dlogits = scale * (softmax - onehot),  dx = dlogits W,  dW = dlogits^T x,  db = sum_n dlogits.
// Rows with target < 0 count as loss 0 and have no gradient. Scratch: min(N, kHeadRows) V floats.
#pragma once

#include "kernels/linear/gemm/gemm.h"

namespace mote::kernels {

inline constexpr Index kHeadRows = 336;  // rows of logits at a time

struct HeadLoss {
  View<const float, 2> x_ND, weight_VD;
  const float* bias_V = nullptr;  // may be null
  const std::int64_t* target_N = nullptr;
  float* loss_N = nullptr;  // out
  // Out; data null: not wanted.
  View<float, 2> dx_ND, dweight_VD;
  float* dbias_V = nullptr;
  float scale = 1;
  Precision precision = Precision::f32;
};
void head_loss(const HeadLoss& args, const Run& run);

}  // namespace mote::kernels
