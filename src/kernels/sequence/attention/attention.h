// Attention of one layer, forward and backward: a mean of values, weighted by the softmax over the
// keys that a query sees.
//
//   l[i,j] = scale * ((q_i + u) . k_j + (q_i + w) . r[d]) + bias[d],  d = at + i - j
//   lse_i  = log(sum_j exp(l[i,j]) + exp(sink))
//   o_i    = sum_j exp(l[i,j] - lse_i) v_j
//
// per sequence b and query head h; u, w, r, bias and sink are the head's own, each may be missing.
// Query head h reads key head h / (H / G).
//
// What is seen. Query i of sequence b sees the keys first <= j <= last of sees_BT(b, i) that are
// below lengths_B[b]. The sums are over these alone: what stands elsewhere, in padding for example,
// is multiplied with nothing. A query that sees none gets o = 0 and lse = sink, or -infinity
// without one. struct AttentionSight makes the usual ranges.
//
// Distances. d counts keys backwards from where the query stands (`at` of its first query), and is
// negative for keys behind it. Row t of r_DHC is for distance D-1-t, and there must be one for
// every key that is seen. Column t of bias_HD is for distance bias_farthest - t; distances beyond
// either end of the table take the column at that end.
//
// Aliasing: v may lie in k (a prefix of its rows, for latent attention). Outputs overlap nothing.
// Inputs are finite where they are seen; NaN spreads to the outputs that depend on it.
//
// Keys are taken in blocks with running sums, so scratch does not depend on S; backward makes the
// probabilities again from lse_BHT. Up to 16 rows of queries (T times H / G) read keys and values
// once, where they lie. Forward is cut over sequences, key heads, queries and, where these are few,
// keys; backward over sequences and key heads.
#pragma once

#include <cstdint>

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

// Rows of k from first to last; none where last < first.
struct KeyRange {
  std::int32_t first = 0, last = -1;
};

struct Attention {
  View<const float, 4> q_BTHC, k_BSGC, v_BSGE;  // the last stride is 1
  View<const KeyRange, 2> sees_BT;              // stride 0 over b: alike in all sequences
  View<const std::int32_t, 1> at_B;             // the key beside query 0; data null: key 0
  const std::int32_t* lengths_B = nullptr;      // null: S
  View<const float, 3> r_DHC;                   // data null: no relative positions
  const float* u_HC = nullptr;
  const float* w_HC = nullptr;
  View<const float, 2> bias_HD;  // data null: none; the last stride is 1
  Index bias_farthest = 0;
  const float* sink_H = nullptr;
  float scale = 1;
  View<float, 4> o_BTHE;     // out
  float* lse_BHT = nullptr;  // out, may be null
};
void attention(const Attention& args, const Run& run);

struct AttentionBackward {
  Attention forward;  // with o_BTHE and lse_BHT as forward left them
  View<const float, 4> do_BTHE;
  View<float, 4> dq_BTHC, dk_BSGC, dv_BSGE;  // out; 0 for keys that nobody sees
  // Out, one partial per sequence, to be summed over b; null: not wanted.
  float* dr_BDHC = nullptr;
  float* du_BHC = nullptr;
  float* dw_BHC = nullptr;
  float* dbias_BHD = nullptr;
  float* dsink_BH = nullptr;
  float* dscale_BH = nullptr;
};
void attention_backward(const AttentionBackward& args, const Run& run);

std::span<const Variant<Attention>> attention_variants();
std::span<const Variant<AttentionBackward>> attention_backward_variants();

// The usual sights, by position in the sequence: query t is at first_query + t, key s at
// first_key + s. Position i sees j where all of these hold:
//   j <= i                                      unless `ahead`
//   j >= floor(i / block) * block - memory      with a block: its own, and the memory before that
//   j > i - window                              with a window
// so what a position sees does not depend on how many positions one call brings.
struct AttentionSight {
  Index first_query = 0, first_key = 0;
  Index block = 0, memory = 0;
  Index window = 0;
  bool ahead = false;
};
// Ranges of `queries` queries among `keys` keys. Throws where keys are missing that a query sees:
// before the first one, unless that is position 0, or behind the last one.
void see(const AttentionSight& sight, Index queries, Index keys, KeyRange* sees_T);

}  // namespace mote::kernels
