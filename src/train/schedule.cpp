#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mote::train {

double learning_rate(double peak, std::int64_t step, std::int64_t warmup, std::int64_t horizon) {
  const double after = static_cast<double>(std::max<std::int64_t>(0, step - warmup));
  const double cosine = (1 + std::cos(std::numbers::pi * after / static_cast<double>(horizon))) / 2;
  const double warm =
      step < warmup ? static_cast<double>(step + 1) / static_cast<double>(warmup) : 1;
  return peak * cosine * warm;
}

}  // namespace mote::train
