// A stored matrix W [rows, columns] that is no plain memory: it writes itself out as float32, piece
// by piece, into the panels that a product reads. One such function gives a storage all batch sizes
// and instruction sets.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

inline constexpr Index kPanelRows = 16;

// 16 rows of W, column after column:
//   out[(k - first_k) * stride + (j - first_row)] = W[j, k]
// for j in [first_row, first_row + 16), 0 where W has no row j, and k in [first_k, first_k + depth),
// which W has. first_row is a multiple of 16, first_k of 64. Nothing else of `out` is touched.
struct PanelPart {
  Index first_row = 0, first_k = 0, depth = 0;
  float* out = nullptr;
  Index stride = 0;  // at least 16
};

struct PanelSource {
  void (*fill)(const void* storage, const PanelPart& part) = nullptr;
  const void* storage = nullptr;
};

}  // namespace mote::kernels
