// How a product is cut for the caches: sizes shared by the variants and by whoever provides scratch
// memory.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

// A packed panel of b, kDepth x 32 floats, is 32 KiB and stays in the L1 cache while the panels of
// a go by; the packed block of a (kMaxRows x kDepth, 176 KiB with padding) and of b (512 KiB) stay
// in the L2 cache.
inline constexpr Index kDepth = 256;
inline constexpr Index kMaxRows = 168;
inline constexpr Index kMaxColumns = 512;
// Panels are stored a vector wide: 28 panels of 6 rows take 224, 12 of 14 rows 192.
inline constexpr Index kPanelSlack = 56;

}  // namespace mote::kernels
