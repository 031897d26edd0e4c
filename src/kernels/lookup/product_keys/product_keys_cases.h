// Shapes and numbers of product-key retrieval: plain, and whole numbers that tie.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/lookup/product_keys/product_keys.h"

namespace mote::kernels {

struct ProductKeyCase {
  Index tokens, heads, keys, half, k;
  bool shared_keys = true, shared_query = false;
  bool whole = false;  // small whole numbers: sums are exact and tie
};

inline std::string case_name(const ProductKeyCase& c) {
  return word("tokens", c.tokens) + word("_heads", c.heads) + word("_keys", c.keys) +
         word("_half", c.half) + word("_k", c.k) + (c.shared_keys ? "" : "_own_keys") +
         (c.shared_query ? "_one_query" : "") + (c.whole ? "_whole" : "");
}

struct ProductKeyData {
  ProductKeyCase shape;
  std::vector<float> q, keys;

  explicit ProductKeyData(const ProductKeyCase& c)
      : shape(c),
        q(normals(c.tokens * (c.shared_query ? 1 : c.heads) * 2 * c.half, 1)),
        keys(normals(2 * sets() * c.keys * c.half, 2)) {
    if (!c.whole) return;
    for (float& x : q) x = std::round(x);
    for (float& x : keys) x = std::round(x);
  }
  Index sets() const { return shape.shared_keys ? 1 : shape.heads; }
  View<const float, 3> q_NHC() const {
    const Index c = 2 * shape.half;
    if (shape.shared_query) return {q.data(), {shape.tokens, shape.heads, c}, {c, 0, 1}};
    return view(q.data(), shape.tokens, shape.heads, c);
  }
  View<const float, 3> keys_SnC() const {
    return view(keys.data(), 2 * sets(), shape.keys, shape.half);
  }
  Index pairs() const { return shape.tokens * shape.heads * shape.k; }
};

}  // namespace mote::kernels
