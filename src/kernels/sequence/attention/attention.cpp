#include "kernels/sequence/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/sequence/attention/attention_tiles.h"

namespace mote::kernels {
namespace {

using Doubles = std::vector<double>;

double dot(const float* x, const float* add, const float* y, Index n) {
  double sum = 0;
  for (Index c = 0; c < n; ++c)
    sum += (static_cast<double>(x[c]) + (add ? static_cast<double>(add[c]) : 0)) *
           static_cast<double>(y[c]);
  return sum;
}

Index column_of(const Attention& a, Index distance) {
  return std::clamp<Index>(a.bias_farthest - distance, 0, a.bias_HD.size(1) - 1);
}

// One query of a sequence and head against the keys it sees: what both directions begin with.
struct Query {
  Index b, t, h, g, first, end;
  Doubles score;   // [end - first], before the scale
  Doubles weight;  // exp(l - lse)
  double lse = -INFINITY, sink_weight = 0;

  Query(const Attention& a, Index sequence, Index head, Index query)
      : b(sequence), t(query), h(head), g(head / (a.q_BTHC.size(2) / a.k_BSGC.size(2))) {
    const KeyRange seen = seen_keys(a, b, t);
    first = seen.first, end = std::max<Index>(first, seen.last + 1);
    const Index width = a.q_BTHC.size(3);
    const float* q = row_at(a.q_BTHC, b, t, h);
    double largest = a.sink_H ? static_cast<double>(a.sink_H[h]) : -INFINITY;
    for (Index j = first; j < end; ++j) {
      double x = dot(q, a.u_HC ? a.u_HC + h * width : nullptr, row_at(a.k_BSGC, b, j, g), width);
      if (a.r_DHC.data)
        x += dot(q, a.w_HC ? a.w_HC + h * width : nullptr,
                 &a.r_DHC(a.r_DHC.size(0) - 1 - distance(a, j), h, 0), width);
      score.push_back(x);
      double l = static_cast<double>(a.scale) * x;
      if (a.bias_HD.data) l += static_cast<double>(a.bias_HD(h, column_of(a, distance(a, j))));
      weight.push_back(l);
      largest = std::max(largest, l);
    }
    if (weight.empty() && !a.sink_H) return;
    double sum = a.sink_H ? std::exp(static_cast<double>(a.sink_H[h]) - largest) : 0;
    for (const double l : weight) sum += std::exp(l - largest);
    lse = largest + std::log(sum);
    for (double& l : weight) l = std::exp(l - lse);
    if (a.sink_H) sink_weight = std::exp(static_cast<double>(a.sink_H[h]) - lse);
  }
  Index distance(const Attention& a, Index j) const { return standing(a, b) + t - j; }
  double weight_of(Index j) const { return weight[static_cast<std::size_t>(j - first)]; }
};

void reference(const Attention& a, const Run&) {
  const Index heads = a.q_BTHC.size(2), queries = a.q_BTHC.size(1);
  for (Index b = 0; b < a.q_BTHC.size(0); ++b)
    for (Index h = 0; h < heads; ++h)
      for (Index t = 0; t < queries; ++t) {
        const Query query(a, b, h, t);
        if (a.lse_BHT) a.lse_BHT[(b * heads + h) * queries + t] = static_cast<float>(query.lse);
        for (Index e = 0; e < a.v_BSGE.size(3); ++e) {
          double o = 0;
          for (Index j = query.first; j < query.end; ++j)
            o += query.weight_of(j) * static_cast<double>(row_at(a.v_BSGE, b, j, query.g)[e]);
          row_at(a.o_BTHE, b, t, h)[e] = static_cast<float>(o);
        }
      }
}

Doubles zeros(Index count) {
  return Doubles(static_cast<std::size_t>(count));
}

// The gradients that are summed over the queries of one sequence and key head.
struct KeyGradients {
  Doubles dk_SC, dv_SE;
};
// And over those of one sequence and query head.
struct HeadGradients {
  Doubles dr_DC, du_C, dw_C, dbias_D;
  double dsink = 0, dscale = 0;
};

// Adds what one query gives to them, and writes its own gradient.
void query_backward(const AttentionBackward& args, const Query& query, KeyGradients& of_keys,
                    HeadGradients& of_head) {
  const Attention& a = args.forward;
  const Index width = a.q_BTHC.size(3), value_width = a.v_BSGE.size(3), h = query.h;
  const float* q = row_at(a.q_BTHC, query.b, query.t, h);
  const float* d_o = row_at(args.do_BTHE, query.b, query.t, h);
  const auto number = [](float x) { return static_cast<double>(x); };
  const auto with = [&](const float* add_HC, Index c) {
    return number(q[c]) + (add_HC ? number(add_HC[h * width + c]) : 0);
  };
  const auto dp = [&](Index j) {
    return dot(d_o, nullptr, row_at(a.v_BSGE, query.b, j, query.g), value_width);
  };
  double mean = 0;
  for (Index j = query.first; j < query.end; ++j) mean += query.weight_of(j) * dp(j);
  of_head.dsink -= query.sink_weight * mean;
  Doubles dq = zeros(width);
  for (Index j = query.first; j < query.end; ++j) {
    const double p = query.weight_of(j), dl = p * (dp(j) - mean), dx = number(a.scale) * dl;
    const Index distance = query.distance(a, j);
    const auto add = [](Doubles& to, Index i, double x) { to[static_cast<std::size_t>(i)] += x; };
    of_head.dscale += dl * query.score[static_cast<std::size_t>(j - query.first)];
    if (a.bias_HD.data) add(of_head.dbias_D, column_of(a, distance), dl);
    for (Index e = 0; e < value_width; ++e)
      add(of_keys.dv_SE, j * value_width + e, p * number(d_o[e]));
    const float* k = row_at(a.k_BSGC, query.b, j, query.g);
    for (Index c = 0; c < width; ++c) {
      add(dq, c, dx * number(k[c]));
      add(of_head.du_C, c, dx * number(k[c]));
      add(of_keys.dk_SC, j * width + c, dx * with(a.u_HC, c));
    }
    if (!a.r_DHC.data) continue;
    const Index row = a.r_DHC.size(0) - 1 - distance;
    const float* r = &a.r_DHC(row, h, 0);
    for (Index c = 0; c < width; ++c) {
      add(dq, c, dx * number(r[c]));
      add(of_head.dw_C, c, dx * number(r[c]));
      add(of_head.dr_DC, row * width + c, dx * with(a.w_HC, c));
    }
  }
  std::copy(dq.begin(), dq.end(), row_at(args.dq_BTHC, query.b, query.t, h));
}

// Rows of `width`, `stride` apart.
void write_rows(const Doubles& from, Index width, float* to, Index stride) {
  const auto rows = width == 0 ? 0 : static_cast<Index>(from.size()) / width;
  for (Index i = 0; i < rows; ++i)
    for (Index c = 0; c < width; ++c)
      to[i * stride + c] = static_cast<float>(from[static_cast<std::size_t>(i * width + c)]);
}

void backward_reference(const AttentionBackward& args, const Run&) {
  const Attention& a = args.forward;
  const Index heads = a.q_BTHC.size(2), width = a.q_BTHC.size(3), keys = a.k_BSGC.size(1),
              groups = a.k_BSGC.size(2), value_width = a.v_BSGE.size(3),
              distances = a.r_DHC.size(0), columns = a.bias_HD.size(1);
  for (Index b = 0; b < a.q_BTHC.size(0); ++b)
    for (Index g = 0; g < groups; ++g) {
      KeyGradients of_keys{zeros(keys * width), zeros(keys * value_width)};
      for (Index h = g * (heads / groups); h < (g + 1) * (heads / groups); ++h) {
        HeadGradients of{zeros(distances * width), zeros(width), zeros(width), zeros(columns)};
        for (Index t = 0; t < a.q_BTHC.size(1); ++t)
          query_backward(args, Query(a, b, h, t), of_keys, of);
        const Index item = b * heads + h;
        if (args.dr_BDHC)
          write_rows(of.dr_DC, width, args.dr_BDHC + (b * distances * heads + h) * width,
                     heads * width);
        if (args.du_BHC) write_rows(of.du_C, width, args.du_BHC + item * width, width);
        if (args.dw_BHC) write_rows(of.dw_C, width, args.dw_BHC + item * width, width);
        if (args.dbias_BHD)
          write_rows(of.dbias_D, columns, args.dbias_BHD + item * columns, columns);
        if (args.dsink_BH) args.dsink_BH[item] = static_cast<float>(of.dsink);
        if (args.dscale_BH) args.dscale_BH[item] = static_cast<float>(of.dscale);
      }
      if (keys == 0) continue;
      write_rows(of_keys.dk_SC, width, row_at(args.dk_BSGC, b, 0, g), args.dk_BSGC.stride(1));
      write_rows(of_keys.dv_SE, value_width, row_at(args.dv_BSGE, b, 0, g), args.dv_BSGE.stride(1));
    }
}

// Unused in a build without vector code.
template <const AttentionLoops& loops>
[[maybe_unused]] void in_tiles(const Attention& args, const Run& run) {
  attention_in_tiles(args, run, loops);
}
template <const AttentionLoops& loops>
[[maybe_unused]] void backward_in_tiles(const AttentionBackward& args, const Run& run) {
  attention_backward_in_tiles(args, run, loops);
}

constexpr Variant<Attention> kForward[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, in_tiles<kAttentionAvx2>},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, in_tiles<kAttentionAvx512>},
#endif
};

constexpr Variant<AttentionBackward> kBackward[] = {
    {Isa::reference, backward_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, backward_in_tiles<kAttentionAvx2>},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, backward_in_tiles<kAttentionAvx512>},
#endif
};

template <std::size_t Rank>
std::string text(const std::array<Index, Rank>& sizes) {
  std::string all;
  for (const Index n : sizes) all += (all.empty() ? "[" : ", ") + std::to_string(n);
  return all + "]";
}

template <class T, int Rank>
void check_sizes(const char* name, const View<T, Rank>& x,
                 const std::array<Index, static_cast<std::size_t>(Rank)>& wanted) {
  MOTE_CHECK(x.sizes == wanted, "attention: ", name, " is ", text(x.sizes), " where ", text(wanted),
             " is needed");
}

void check_ranges(const Attention& a) {
  const Index keys = a.k_BSGC.size(1), distances = a.r_DHC.size(0);
  for (Index b = 0; b < a.q_BTHC.size(0); ++b) {
    MOTE_CHECK(!a.lengths_B || (a.lengths_B[b] >= 0 && a.lengths_B[b] <= keys),
               "attention: sequence ", b, " has a length of ", a.lengths_B ? a.lengths_B[b] : 0,
               ", there are ", keys, " keys");
    for (Index t = 0; t < a.q_BTHC.size(1); ++t) {
      const KeyRange range = a.sees_BT(b, t);
      MOTE_CHECK(range.first >= 0 && range.last < keys && range.first <= range.last + 1,
                 "attention: query ", t, " sees the keys from ", range.first, " to ", range.last,
                 ", there are ", keys);
      const KeyRange seen = seen_keys(a, b, t);
      if (!a.r_DHC.data || seen.last < seen.first) continue;
      const Index at = standing(a, b) + t;
      MOTE_CHECK(at - seen.first < distances && seen.last <= at, "attention: query ", t,
                 " sees keys at distances from ", at - seen.last, " to ", at - seen.first,
                 ", relative positions are for 0 to ", distances - 1);
    }
  }
}

void check(const Attention& a) {
  const auto [batch, queries, heads, width] = a.q_BTHC.sizes;
  const Index keys = a.k_BSGC.size(1), groups = a.k_BSGC.size(2), value_width = a.v_BSGE.size(3);
  check_sizes("k", a.k_BSGC, {batch, keys, groups, width});
  check_sizes("v", a.v_BSGE, {batch, keys, groups, value_width});
  check_sizes("o", a.o_BTHE, {batch, queries, heads, value_width});
  check_sizes("sees", a.sees_BT, {batch, queries});
  MOTE_CHECK(groups == 0 ? heads == 0 : heads % groups == 0, "attention: ", heads,
             " query heads cannot share ", groups, " key heads evenly");
  MOTE_CHECK(keys <= std::numeric_limits<std::int32_t>::max(), "attention: ", keys,
             " keys, ranges reach to ", std::numeric_limits<std::int32_t>::max());
  if (a.at_B.data) check_sizes("at", a.at_B, {batch});
  if (a.r_DHC.data) check_sizes("r", a.r_DHC, {a.r_DHC.size(0), heads, width});
  if (a.bias_HD.data) {
    check_sizes("bias", a.bias_HD, {heads, a.bias_HD.size(1)});
    MOTE_CHECK(a.bias_HD.size(1) > 0 || heads == 0, "attention: the bias of ", heads, " heads has ",
               a.bias_HD.size(1), " distances");
  }
  check_ranges(a);
}

void check(const AttentionBackward& args) {
  const Attention& a = args.forward;
  check(a);
  check_sizes("do", args.do_BTHE, a.o_BTHE.sizes);
  check_sizes("dq", args.dq_BTHC, a.q_BTHC.sizes);
  check_sizes("dk", args.dk_BSGC, a.k_BSGC.sizes);
  check_sizes("dv", args.dv_BSGE, a.v_BSGE.sizes);
  MOTE_CHECK(a.lse_BHT || a.q_BTHC.empty(), "attention_backward: ", text(a.q_BTHC.sizes),
             " queries, and forward kept no log-sum-exp");
  MOTE_CHECK(a.r_DHC.data || !(args.dr_BDHC || args.dw_BHC),
             "attention_backward: the gradient of relative positions is wanted, there are ",
             a.r_DHC.size(0));
  MOTE_CHECK(a.bias_HD.data || !args.dbias_BHD,
             "attention_backward: the gradient of the bias is wanted, it has ", a.bias_HD.size(1),
             " distances");
  MOTE_CHECK(a.sink_H || !args.dsink_BH,
             "attention_backward: the gradient of the sinks is wanted, none of ", a.q_BTHC.size(2),
             " heads has one");
}

}  // namespace

KeyRange seen_keys(const Attention& args, Index b, Index t) {
  KeyRange range = args.sees_BT(b, t);
  if (args.lengths_B) range.last = std::min(range.last, args.lengths_B[b] - 1);
  return range;
}

Index standing(const Attention& args, Index b) {
  return args.at_B.data ? args.at_B(b) : 0;
}

std::span<const Variant<Attention>> attention_variants() {
  return kForward;
}
std::span<const Variant<AttentionBackward>> attention_backward_variants() {
  return kBackward;
}

namespace {

// Of queries of all heads and the keys that they see; only looked at where someone counts.
std::int64_t seen_pairs(const Attention& a, const Run& run) {
  if (!run.multiply_adds) return 0;
  std::int64_t pairs = 0;
  for (Index b = 0; b < a.q_BTHC.size(0); ++b)
    for (Index t = 0; t < a.q_BTHC.size(1); ++t) {
      const KeyRange seen = seen_keys(a, b, t);
      pairs += std::max(0, seen.last - seen.first + 1);
    }
  return pairs * a.q_BTHC.size(2);
}

// Multiply-adds of one score: with a key, and with a distance.
Index score_width(const Attention& a) {
  return a.q_BTHC.size(3) * (a.r_DHC.data ? 2 : 1);
}

// Tiles multiply more than is seen.
Run uncounted(Run run) {
  run.multiply_adds = nullptr;
  return run;
}

}  // namespace

void attention(const Attention& args, const Run& run) {
  check(args);
  run.count(seen_pairs(args, run) * (score_width(args) + args.v_BSGE.size(3)));
  select(attention_variants(), run).call(args, uncounted(run));
}

void attention_backward(const AttentionBackward& args, const Run& run) {
  check(args);
  // Scores once more, and the gradients of probabilities, values, queries, keys and distances.
  const Attention& a = args.forward;
  run.count(seen_pairs(a, run) * (3 * score_width(a) + 2 * a.v_BSGE.size(3)));
  select(attention_backward_variants(), run).call(args, uncounted(run));
}

void see(const AttentionSight& sight, Index queries, Index keys, KeyRange* sees_T) {
  for (Index t = 0; t < queries; ++t) {
    const Index i = sight.first_query + t;
    Index first = 0;
    if (sight.block > 0) first = std::max(first, i / sight.block * sight.block - sight.memory);
    if (sight.window > 0) first = std::max(first, i - sight.window + 1);
    const Index last = sight.ahead ? sight.first_key + keys - 1 : i;
    MOTE_CHECK(first >= sight.first_key, "attention: position ", i, " sees keys from ", first,
               ", they begin at ", sight.first_key);
    MOTE_CHECK(last < sight.first_key + keys, "attention: position ", i,
               " sees its own key, they end before ", sight.first_key + keys);
    sees_T[t] = {static_cast<std::int32_t>(first - sight.first_key),
                 static_cast<std::int32_t>(last - sight.first_key)};
  }
}

}  // namespace mote::kernels
