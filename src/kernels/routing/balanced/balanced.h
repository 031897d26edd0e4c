// The balanced assignment with the largest sum of scores: every token gets one expert, every expert
// at most ceil(N / E) tokens (BASE, arXiv 2103.16716; specs/sparse-ffn 2.5).
//
// Tokens come one after the other, each by the shortest path of moves that makes room for it, which
// is exact but for sums that differ by less than 1e-9 of the largest score. A score that is not
// finite is taken only where nothing else is left. O(N E^2) and, once experts are full, O(N) for
// each token.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

struct BalancedAssignment {
  View<const float, 2> scores_NE;
  View<std::int32_t, 1> expert_N;
};

void balanced_assignment(const BalancedAssignment& args);

}  // namespace mote::kernels
