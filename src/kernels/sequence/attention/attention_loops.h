// The inner loops of attention that vector files provide and tiles (attention_tiles.h) call.
#pragma once

#include "kernels/core/view.h"

namespace mote::kernels {

// y = factor * x + add; add may be null, y may be x or add.
struct ScaledRow {
  const float* x = nullptr;
  const float* add = nullptr;
  float factor = 1;
  float* y = nullptr;
  Index n = 0;
};

// A row of scores of one block of keys, of which [begin, end) are seen:
//   l_j = scale * (x_j + y_j) + bias_j;  y and bias may be null (0)
//   x_j := exp(l_j - new largest); 0 for the other j in [0, n)
// `largest` and `sum` run over blocks: of all l so far, and of exp(l - largest). Before the first
// they are -infinity and 0.
struct SoftmaxStep {
  float* x = nullptr;
  const float* y = nullptr;
  const float* bias = nullptr;
  Index begin = 0, end = 0, n = 0;
  float scale = 1;
  float* largest = nullptr;
  float* sum = nullptr;
};

// From the same x, y and bias, and dp_j = d loss / d p_j:
//   p_j = exp(l_j - lse),  ds_j = p_j (dp_j - mean_dp)
//   x_j := p_j;  dp_j := scale ds_j;  both 0 outside
//   dbias_j += ds_j and for_scale += (...), unless null
// For the gradient of the scale, sums over j of a row. It is ds_score, less what an error of mean_dp
// made of it: that error is known, since ds and the gradient of the sink should sum to 0, and scores
// far from 0 would multiply it.
struct ScaleSums {
  float ds_score = 0, ds = 0, p_score = 0;  // ds_j (x_j + y_j), ds_j, p_j (x_j + y_j)
};
struct SoftmaxBackwardStep {
  float* x = nullptr;
  const float* y = nullptr;
  const float* bias = nullptr;
  float* dp = nullptr;
  float* dbias = nullptr;
  Index begin = 0, end = 0, n = 0;
  float scale = 1, lse = 0, mean_dp = 0;
  ScaleSums* for_scale = nullptr;
};

// x[i, j] = q_i . k_j for few q: k is read once, where it lies.
struct FewScores {
  const float* q = nullptr;
  Index q_stride = 0;
  const float* k = nullptr;
  Index k_stride = 0;
  Index rows = 0, keys = 0, width = 0;
  float* x = nullptr;
  Index x_stride = 0;
};

// o_i += sum_j p[i, j] v_j for few p.
struct FewSums {
  const float* p = nullptr;
  Index p_stride = 0;
  const float* v = nullptr;
  Index v_stride = 0;
  Index rows = 0, keys = 0, width = 0;
  float* o = nullptr;
  Index o_stride = 0;
};

struct AttentionLoops {
  void (*scaled_row)(const ScaledRow&);
  float (*dot)(const float* a, const float* b, Index n);
  // Returns by what sums over the blocks before are to be multiplied.
  float (*softmax_step)(const SoftmaxStep&);
  void (*softmax_backward_step)(const SoftmaxBackwardStep&);
  void (*few_scores)(const FewScores&);
  void (*few_sums)(const FewSums&);
};
extern const AttentionLoops kAttentionAvx2, kAttentionAvx512;

}  // namespace mote::kernels
