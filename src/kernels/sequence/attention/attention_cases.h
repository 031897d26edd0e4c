// Shapes and inputs of attention: every sight and every optional term, alone and together.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/sequence/attention/attention.h"

namespace mote::kernels {

struct AttentionCase {
  Index batch = 1, queries = 1, keys = 1, heads = 1, groups = 1, width = 8, value_width = 8;
  AttentionSight sight = {};
  bool relative = false, sink = false;
  Index bias = 0;             // columns of the table; distances beyond them are clamped
  bool lengths = false;       // sequence b has b / (batch - 1) of the keys, the last one all
  bool apart = false;         // sequence b is b positions behind the first one
  bool value_in_key = false;  // v is the beginning of k
  double spread = 1;          // of the queries
};

inline std::string case_name(const AttentionCase& c) {
  const AttentionSight& s = c.sight;
  return word("b", c.batch) + word("_t", c.queries) + word("_s", c.keys) + word("_h", c.heads) +
         word("_g", c.groups) + word("_c", c.width) + word("_e", c.value_width) +
         (s.ahead ? "_ahead" : word("_from", s.first_query)) +
         (s.first_key ? word("_keys_from", s.first_key) : "") +
         (s.block ? word("_block", s.block) + word("_memory", s.memory) : "") +
         (s.window ? word("_window", s.window) : "") + (c.relative ? "_relative" : "") +
         (c.bias ? word("_bias", c.bias) : "") + (c.sink ? "_sink" : "") +
         (c.lengths ? "_lengths" : "") + (c.apart ? "_apart" : "") +
         (c.value_in_key ? "_value_in_key" : "") +
         (c.spread > 1 ? word("_spread", static_cast<Index>(c.spread)) : "");
}

// The last `queries` of `keys` positions.
inline AttentionCase causal(Index queries, Index keys, Index width, Index value_width) {
  AttentionCase c;
  c.queries = queries, c.keys = keys, c.width = width, c.value_width = value_width;
  c.sight.first_query = keys - queries;
  return c;
}

inline AttentionCase with_all_terms(AttentionCase c, Index bias) {
  c.relative = c.sink = true;
  c.bias = bias;
  return c;
}

inline std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> cases;
  const auto add = [&](AttentionCase c, auto... change) {
    (change(c), ...);
    cases.push_back(c);
  };
  const auto heads = [](Index of_queries, Index of_keys) {
    return [=](AttentionCase& c) { c.heads = of_queries, c.groups = of_keys; };
  };
  const auto relative = [](AttentionCase& c) { c.relative = true; };
  const auto sink = [](AttentionCase& c) { c.sink = true; };
  const auto bias = [](Index n) { return [=](AttentionCase& c) { c.bias = n; }; };
  const auto window = [](Index n) { return [=](AttentionCase& c) { c.sight.window = n; }; };
  const auto ahead = [](AttentionCase& c) { c.sight.ahead = true; };
  const auto batch = [](Index n) { return [=](AttentionCase& c) { c.batch = n; }; };
  const auto lengths = [](AttentionCase& c) { c.lengths = true; };
  const auto apart = [](AttentionCase& c) { c.apart = true; };

  const std::vector<Index> widths = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64};
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const Index other = widths[widths.size() - 1 - i];
    add(with_all_terms(causal(1, 37, widths[i], other), 9));
    add(with_all_terms(causal(21, 37, widths[i], other), 9), heads(2, 2));
  }
  // Numbers of queries and keys round those of tiles, vectors and blocks.
  for (const Index keys : {1, 15, 16, 17, 255, 257, 600}) add(causal(1, keys, 8, 9), heads(4, 2));
  for (const Index queries : {9, 63, 64, 65, 130}) {
    add(causal(queries, queries, 7, 8));
    add(causal(queries, queries + 5, 8, 7), relative);
  }
  // Several blocks of keys, and several parts of them.
  add(with_all_terms(causal(70, 600, 8, 12), 300), heads(4, 2));
  add(with_all_terms(causal(1, 4500, 8, 12), 70), heads(4, 2), batch(2));
  add(causal(1, 2100, 16, 16), [](AttentionCase& c) { c.spread = 30; });
  add(causal(65, 560, 16, 16), [](AttentionCase& c) { c.spread = 30; });
  // Heads: as many rows as few paths take, more, and more than a tile has.
  add(causal(5, 40, 8, 8), heads(6, 2));
  add(causal(1, 300, 17, 33), heads(24, 1), bias(40), sink);
  add(causal(3, 300, 9, 8), heads(70, 1), relative);
  add(causal(40, 80, 8, 16), heads(6, 2), batch(2), relative);
  // Sights.
  add(causal(150, 150, 8, 8), window(5));
  add(causal(20, 700, 8, 8), window(300), heads(2, 1), relative, bias(310));
  add(causal(1, 700, 8, 8), window(17), sink);
  add(causal(17, 30, 8, 8), ahead, bias(9));
  add(causal(70, 300, 9, 7), ahead, heads(2, 2), bias(500), batch(2));
  for (const bool with : {false, true}) {
    const auto blocks = [&](Index of, Index first, Index count, Index heads_of, Index width,
                            Index block, Index memory) {
      AttentionCase c;
      c.batch = of, c.queries = count, c.heads = c.groups = heads_of;
      c.width = c.value_width = width, c.relative = with;
      c.sight = {first, 0, block, memory};
      c.sight.first_key = std::max<Index>(0, first / block * block - memory);
      c.keys = first + count - c.sight.first_key;
      cases.push_back(c);
    };
    blocks(2, 0, 33, 3, 16, 10, 5);    // several blocks, some in one call
    blocks(2, 16, 16, 2, 33, 16, 16);  // a block and the one before
    blocks(1, 0, 150, 1, 8, 24, 96);   // blocks that do not divide a tile
    blocks(1, 150, 90, 1, 8, 100, 30);
    blocks(1, 7, 100, 2, 8, 40, 60);  // starts within a block
    blocks(1, 39, 1, 2, 8, 40, 0);    // one step
  }
  // Each term alone, lengths with a sequence of none, and sequences at positions of their own.
  add(causal(11, 11, 8, 8), sink);
  add(causal(11, 11, 8, 8), bias(1));
  add(causal(30, 30, 8, 8), ahead, batch(4), lengths);
  add(causal(1, 30, 8, 8), batch(4), lengths, sink, heads(2, 1));
  add(with_all_terms(causal(20, 290, 16, 8), 12), batch(3), lengths, apart, heads(4, 2));
  add(with_all_terms(causal(1, 33, 16, 8), 12), batch(3), apart, heads(4, 4));
  add(causal(18, 50, 40, 33), heads(8, 1), [](AttentionCase& c) { c.value_in_key = true; });
  add(causal(1, 50, 40, 33), heads(8, 1), [](AttentionCase& c) { c.value_in_key = true; });
  // Nothing.
  add(causal(4, 4, 8, 8), batch(0), relative);
  add(causal(0, 4, 8, 8), heads(2, 1));
  add(causal(3, 0, 8, 8), ahead);
  add(causal(3, 0, 8, 8), ahead, sink, bias(2));
  return cases;
}

struct AttentionData {
  AttentionCase shape;
  Index distances = 0, bias_farthest, q_stride, k_stride, v_stride;
  std::vector<float> q, k, v, r, u, w, bias, sink;
  std::vector<KeyRange> sees;
  std::vector<std::int32_t> at, lengths;

  explicit AttentionData(const AttentionCase& c)
      : shape(c),
        bias_farthest(2 * c.bias / 3),
        // Rows have gaps and begin one float late.
        q_stride(c.heads * c.width + 3),
        k_stride(c.groups * c.width + 3),
        v_stride(c.value_in_key ? k_stride : c.groups * c.value_width + 3),
        q(normals(c.batch * c.queries * q_stride + 1, 1, c.spread)),
        k(normals(c.batch * c.keys * k_stride + 1, 2)),
        v(normals(c.batch * c.keys * v_stride + 1, 3)) {
    for (Index b = 0; b < c.batch; ++b) {
      const Index behind = c.apart ? b : 0;
      AttentionSight sight = c.sight;
      sight.first_query -= behind;
      sees.resize(sees.size() + static_cast<std::size_t>(c.queries));
      see(sight, c.queries, c.keys, sees.data() + b * c.queries);
      at.push_back(static_cast<std::int32_t>(sight.first_query - sight.first_key));
      if (c.lengths) lengths.push_back(static_cast<std::int32_t>(b * c.keys / (c.batch - 1)));
      if (c.lengths) spoil_padding(b);
    }
    if (c.relative) {
      // One more than the farthest that is seen, so that a read beyond it is one outside the
      // buffer.
      for (Index b = 0; b < c.batch; ++b)
        for (Index t = 0; t < c.queries; ++t)
          distances = std::max<Index>(distances, at_of(b) + t - range(b, t).first + 1);
      r = normals(distances * c.heads * c.width, 4);
      u = normals(c.heads * c.width, 5);
      w = normals(c.heads * c.width, 6);
    }
    bias = normals(c.heads * c.bias, 8);
    if (c.sink) sink = normals(c.heads, 9);
  }

  Attention args(float* o, float* lse) const {
    const AttentionCase& c = shape;
    Attention a;
    a.q_BTHC = {q.data() + 1,
                {c.batch, c.queries, c.heads, c.width},
                {c.queries * q_stride, q_stride, c.width, 1}};
    a.k_BSGC = {k.data() + 1,
                {c.batch, c.keys, c.groups, c.width},
                {c.keys * k_stride, k_stride, c.width, 1}};
    a.v_BSGE = {(c.value_in_key ? k.data() : v.data()) + 1,
                {c.batch, c.keys, c.groups, c.value_width},
                {c.keys * v_stride, v_stride, c.value_in_key ? c.width : c.value_width, 1}};
    a.sees_BT = {sees.data(), {c.batch, c.queries}, {c.queries, 1}};
    a.at_B = {at.data(), {c.batch}, {1}};
    if (c.lengths) a.lengths_B = lengths.data();
    if (c.relative) {
      a.r_DHC = view(r.data(), distances, c.heads, c.width);
      a.u_HC = u.data(), a.w_HC = w.data();
    }
    if (c.bias) a.bias_HD = view(bias.data(), c.heads, c.bias);
    a.bias_farthest = bias_farthest;
    if (c.sink) a.sink_H = sink.data();
    a.scale = 1 / std::sqrt(static_cast<float>(c.width));
    a.o_BTHE = rows(o, c.queries, c.heads, c.value_width);
    a.lse_BHT = lse;
    return a;
  }
  template <class T>
  View<T, 4> rows(T* data, Index count, Index heads, Index width) const {
    const Index row = heads * width;
    return {data, {shape.batch, count, heads, width}, {count * row, row, width, 1}};
  }
  Index at_of(Index b) const { return at[static_cast<std::size_t>(b)]; }
  KeyRange range(Index b, Index t) const {
    return sees[static_cast<std::size_t>(b * shape.queries + t)];
  }
  Index num_queries() const { return shape.batch * shape.heads * shape.queries; }
  Index num_outputs() const { return num_queries() * shape.value_width; }

 private:
  // What is read of it shows.
  void spoil_padding(Index b) {
    const Index length = lengths.back();
    for (const auto& [x, stride] : {std::pair{&k, k_stride}, std::pair{&v, v_stride}})
      std::fill(x->begin() + 1 + (b * shape.keys + length) * stride,
                x->begin() + 1 + (b + 1) * shape.keys * stride, NAN);
  }
};

}  // namespace mote::kernels
