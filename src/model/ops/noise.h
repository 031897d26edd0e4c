// Counter-based noise: float32 [rows, columns], element i of the row-major tensor drawn with index i.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

Tensor normal_numbers(std::int64_t rows, std::int64_t columns, const Rng& rng, const Pass& pass);
// In [0, 1).
Tensor uniform_numbers(std::int64_t rows, std::int64_t columns, const Rng& rng, const Pass& pass);

}  // namespace mote::model::ops
