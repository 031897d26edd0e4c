// Shapes and inputs of attention: plain and relative, one block and several, with memory.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/sequence/attention/attention.h"

namespace mote::kernels {

struct AttentionCase {
  Index batch, queries, heads, width;
  bool relative = false;
  Index first_query = 0, block = 0, memory = 0;
};

inline std::string case_name(const AttentionCase& c) {
  return word("batch", c.batch) + word("_queries", c.queries) + word("_heads", c.heads) +
         word("_width", c.width) + word("_from", c.first_query) + word("_block", c.block) +
         word("_memory", c.memory) + (c.relative ? "_relative" : "_plain");
}

inline std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> cases;
  for (const bool relative : {false, true}) {
    for (Index queries : {1, 9, 17, 63, 64, 65, 130})
      cases.push_back({1, queries, 1, queries % 2 == 0 ? 8 : 7, relative});
    cases.push_back({2, 33, 3, 16, relative, 0, 10, 5});    // several blocks, some in one call
    cases.push_back({2, 16, 2, 33, relative, 16, 16, 16});  // a block and the one before
    cases.push_back({1, 150, 1, 8, relative, 0, 24, 96});   // blocks that do not divide a step
    cases.push_back({1, 90, 1, 8, relative, 150, 100, 30});
    cases.push_back({1, 100, 2, 8, relative, 7, 40, 60});  // starts within a block
    cases.push_back({1, 1, 2, 8, relative, 39, 40, 0});    // one step
    cases.push_back({0, 4, 2, 8, relative});
  }
  return cases;
}

struct AttentionData {
  AttentionCase shape;
  AttentionSight sight;
  Index keys, distances;
  std::vector<float> q, k, v, r, u, w;

  explicit AttentionData(const AttentionCase& c) : shape(c) {
    sight = {c.first_query, 0, c.block, c.memory};
    sight.first_key = std::max<Index>(0, sight.first_seen(c.first_query));
    const Index last = c.first_query + c.queries - 1;
    keys = last + 1 - sight.first_key;
    // One more than the farthest that is seen, so that a read beyond it is one outside the buffer.
    distances = 0;
    for (Index i = c.first_query; i <= last; ++i)
      distances = std::max(distances, i - std::max<Index>(0, sight.first_seen(i)) + 1);
    q = normals(c.batch * c.queries * c.heads * c.width, 1);
    k = normals(c.batch * keys * c.heads * c.width, 2);
    v = normals(c.batch * keys * c.heads * c.width, 3);
    r = normals(distances * c.heads * c.width, 4);
    u = normals(c.heads * c.width, 5);
    w = normals(c.heads * c.width, 6);
  }

  template <class T>
  View<T, 4> rows(T* data, Index count) const {
    const Index row = shape.heads * shape.width;
    return {
        data, {shape.batch, count, shape.heads, shape.width}, {count * row, row, shape.width, 1}};
  }
  Attention args(float* o, float* lse) const {
    Attention a;
    a.q_BTHC = rows(q.data(), shape.queries);
    a.k_BSHC = rows(k.data(), keys);
    a.v_BSHC = rows(v.data(), keys);
    if (shape.relative) {
      a.r_DHC = view(r.data(), distances, shape.heads, shape.width);
      a.u_HC = u.data(), a.w_HC = w.data();
    }
    a.scale = scale();
    a.sight = sight;
    a.o_BTHC = rows(o, shape.queries);
    a.lse_BHT = lse;
    return a;
  }
  float scale() const { return 1 / std::sqrt(static_cast<float>(shape.width)); }
  Index outputs() const { return shape.batch * shape.queries * shape.heads * shape.width; }
  Index rows_of_scores() const { return shape.batch * shape.heads * shape.queries; }
};

}  // namespace mote::kernels
