// Dropout with counter-based masks: element i of the call's tensor is kept with probability 1 -
// rate and scaled by 1 / (1 - rate). The identity when the pass does not train or the rate is 0.
// `site` numbers the place in the model.
#pragma once

#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

Tensor dropout(const Tensor& x, double rate, std::int64_t site, const Pass& pass);

// float32 [rows, columns] of 0 and 1: 1 with probability 1 - rate.
Tensor bernoulli_mask(std::int64_t rows, std::int64_t columns, double rate, const Rng& rng,
                      const Pass& pass);

}  // namespace mote::model::ops
