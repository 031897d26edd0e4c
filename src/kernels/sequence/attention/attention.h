// Causal attention of one layer, plain or with Transformer-XL's relative positions
// (specs/sparse-ffn 3.1), forward and backward.
//
//   l[i,j] = scale * ((q_i + u) . k_j + (q_i + w) . r[distance i-j])
//   o_i = sum_j softmax_j(l[i,j]) v_j
// per sequence b and head h. Without r there is no second term, and u, w are taken as 0 when null.
//
// Positions are absolute: query t is at first_query + t, key s at first_key + s. Query position i
// sees key position j where
//   j <= i  and  j >= floor(i / block) * block - memory      (block 0: every j <= i, first_key 0)
// so what a position sees depends on its block and the memory before that block, never on how many
// positions one call brings. All keys that a query may see must be there, except those before
// position 0.
//
// r is stored by falling distance: row t of r_DHC is for distance D-1-t, and D exceeds every
// distance that is seen. Scores of up to 64 queries of one block are made at a time and never
// stored whole; backward makes them again from the log-sum-exp of each row.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct AttentionSight {
  Index first_query = 0, first_key = 0;
  Index block = 0, memory = 0;

  // The first key position that query position i sees.
  Index first_seen(Index i) const {
    if (block == 0) return first_key;
    const Index first = i / block * block - memory;
    return first > first_key ? first : first_key;
  }
};

struct Attention {
  View<const float, 4> q_BTHC, k_BSHC, v_BSHC;  // the last stride is 1
  View<const float, 3> r_DHC;                   // data null: no relative positions
  const float* u_HC = nullptr;
  const float* w_HC = nullptr;
  float scale = 1;
  AttentionSight sight;
  View<float, 4> o_BTHC;     // out
  float* lse_BHT = nullptr;  // out, may be null
};
void attention(const Attention& args, const Run& run);

struct AttentionBackward {
  Attention forward;  // with lse_BHT as forward left it; o_BTHC is not read
  View<const float, 4> do_BTHC;
  View<float, 4> dq_BTHC, dk_BSHC, dv_BSHC;  // out
  // Out, one partial per sequence, to be summed over b; all null when there are no relative
  // positions.
  float* dr_BDHC = nullptr;
  float* du_BHC = nullptr;
  float* dw_BHC = nullptr;
  float* dscale_BH = nullptr;
};
void attention_backward(const AttentionBackward& args, const Run& run);

// Plain loops and double sums: the definition.
void attention_reference(const Attention& args);

}  // namespace mote::kernels
