#include "kernels/packed/product/int8_rows.h"

#include <algorithm>
#include <cmath>

namespace mote::kernels {

float rounded_to_int8(const float* x, Index columns, std::int8_t* x8) {
  float largest = 0;
  for (Index i = 0; i < columns; ++i) largest = std::max(largest, std::abs(x[i]));
  const float scale = largest / 127;
  for (Index i = 0; i < columns; ++i)
    x8[i] =
        !(scale > 0)
            ? std::int8_t{0}
            : static_cast<std::int8_t>(std::clamp(std::nearbyint(x[i] / scale), -127.0f, 127.0f));
  return scale;
}

void rounded_in_groups(const float* x, Index columns, double* values) {
  constexpr auto kGroup = static_cast<Index>(kInt8Group);
  std::int8_t x8[kGroup];
  float sum_of_squares = 0;
  for (Index i = 0; i < columns; i += kGroup) {
    const float scale = rounded_to_int8(x + i, kGroup, x8);
    sum_of_squares += scale * scale;
  }
  for (Index i = 0; i < columns; i += kGroup) {
    const float scale = rounded_to_int8(x + i, kGroup, x8);
    const bool twice = has_residual(scale, columns / kGroup, sum_of_squares);
    float residual[kGroup];
    for (Index j = 0; j < kGroup; ++j) {
      values[i + j] = static_cast<double>(scale) * static_cast<double>(x8[j]);
      residual[j] = twice ? x[i + j] - scale * static_cast<float>(x8[j]) : 0;
    }
    const float finer = rounded_to_int8(residual, kGroup, x8);
    for (Index j = 0; j < kGroup; ++j)
      values[i + j] += static_cast<double>(finer) * static_cast<double>(x8[j]);
  }
}

}  // namespace mote::kernels
