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

}  // namespace mote::kernels
