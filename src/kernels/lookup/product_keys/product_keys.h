// Product-key retrieval (arXiv 1907.05242; PEER, arXiv 2407.04153 section 2.2; specs/peer.md 1.2): the k
// best of n * n keys, of which key (i, j) is row i of one set of half keys and row j of another.
//
//   s1[i] = <q[0 : c], C1[i]>,  s2[j] = <q[c : 2c], C2[j]>,  score(i, j) = s1[i] + s2[j] in float32
//   index(i, j) = i * n + j
//
// The order of pairs is total: by falling score, then by the rank of i, then by the rank of j, where
// halves rank by falling half score and rising row; NaN comes last. With it the k best lie among the
// min(k, n) best of each half, rounding and ties included, so the result is exact. Halves of many keys are
// searched by best_keys/, others by one product.
//
// Heads have queries of their own, or one that they share (stride 0), and keys of their own (S = H) or
// shared ones (S = 1). Backward is through the scores; what was selected has no gradient:
//   dq[0 : c] = sum_r ds[r] C1[i_r]     dC1[i] = sum over r with i_r = i of ds[r] q[0 : c]
// and the same for the other halves. Sums run in a fixed order: the same bits for any threads.
//
// Shapes: q [N, H, C] with C = 2c, unit stride along C; keys [2 S, n, c]: halves 1 and 2 of set 0, of
// set 1, ...; index and scores [N, H, k], 1 <= k <= n * n <= INT32_MAX, rows of k without gaps.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct ProductKeySearch {
  View<const float, 3> q_NHC, keys_SnC;
  View<std::int32_t, 3> index_NHK;  // out
  View<float, 3> score_NHK;         // out
};
void product_key_search(const ProductKeySearch& args, const Run& run);

struct ProductKeyBackward {
  View<const float, 3> q_NHC, keys_SnC;
  View<const std::int32_t, 3> index_NHK;
  View<const float, 3> dscore_NHK;
  View<float, 3> dq_NHC;     // out, contiguous
  View<float, 3> dkeys_SnC;  // out, contiguous
};
void product_key_backward(const ProductKeyBackward& args, const Run& run);

// The same in plain loops over all n * n pairs, and in double: the definition that tests compare
// with.
void product_key_search_reference(const ProductKeySearch& args);
void product_key_backward_reference(const ProductKeyBackward& args);

}  // namespace mote::kernels
