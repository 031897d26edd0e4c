// lr(t) = lr0 (1 + cos(pi max(0, t - w) / horizon)) / 2, times (t + 1) / w while t < w
// (specs/sparse-ffn 3.2). The horizon counts from the end of the warm-up and is not shortened by
// it.
#pragma once

#include <cstdint>

namespace mote::train {

double learning_rate(double peak, std::int64_t step, std::int64_t warmup, std::int64_t horizon);

}  // namespace mote::train
