// Cross-entropy of one row of logits: *loss = log sum_v exp(x_v) - x_target, in nats. With
// `gradient`, also
//   x_v := scale * (softmax(x)_v - 1[v = target]).
// 0 <= target < n, n >= 1.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct CrossEntropyRow {
  float* x = nullptr;
  Index n = 0, target = 0;
  bool gradient = false;
  float scale = 1;
  float* loss = nullptr;
};
std::span<const Variant<CrossEntropyRow>> cross_entropy_row_variants();
void cross_entropy_row_avx2(const CrossEntropyRow& args, const Run& run);
void cross_entropy_row_avx512(const CrossEntropyRow& args, const Run& run);

}  // namespace mote::kernels
