// Rotary positions (kernels/sequence/rotary), differentiable in x.
#pragma once

#include "kernels/sequence/rotary/rotary.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// Cosines and sines of positions 0, 1, ...: [P, M] each, M pairs a head.
struct RotaryRows {
  Tensor cos_PM, sin_PM;
};

// x [B, T, heads * C] of the positions from `first` on, of which the tables have enough.
Tensor rotary(const Tensor& x_BTI, std::int64_t heads, std::int64_t first, const RotaryRows& rows,
              kernels::RotaryPairs pairs, const Pass& pass);

}  // namespace mote::model::ops
