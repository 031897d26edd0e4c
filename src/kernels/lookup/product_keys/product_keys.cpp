#include "kernels/lookup/product_keys/product_keys.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/lookup/table_rows/table_rows.h"
#include "kernels/routing/sort/sort.h"
#include "kernels/routing/topk/topk.h"

namespace mote::kernels {
namespace {

// Sizes that every call has.
struct Sizes {
  Index tokens, heads, sets, keys, half, k;

  template <class Args>
  Sizes(const Args& args)  // NOLINT(google-explicit-constructor)
      : tokens(args.q_NHC.size(0)),
        heads(args.q_NHC.size(1)),
        sets(args.keys_SnC.size(0) / 2),
        keys(args.keys_SnC.size(1)),
        half(args.keys_SnC.size(2)),
        k(args.index_NHK.size(2)) {}
  Index set_of(Index head) const { return sets == 1 ? 0 : head; }
};

template <class Args>
void check(const char* op, const Args& args) {
  const Sizes s(args);
  MOTE_CHECK(s.sets == 1 || s.sets == s.heads, op, ": ", s.sets, " sets of keys for ", s.heads,
             " heads; there is one, or one for each");
  MOTE_CHECK(args.q_NHC.size(2) == 2 * s.half, op, ": queries have ", args.q_NHC.size(2),
             " numbers, two half keys ", 2 * s.half);
  MOTE_CHECK(s.keys >= 1 && s.keys * s.keys <= INT32_MAX, op, ": ", s.keys, " keys in a half");
  MOTE_CHECK(s.k >= 1 && s.k <= s.keys * s.keys, op, ": k is ", s.k, ", there are ",
             s.keys * s.keys, " keys");
  MOTE_CHECK(args.index_NHK.size(0) == s.tokens && args.index_NHK.size(1) == s.heads, op,
             ": indices for ", args.index_NHK.size(0), " x ", args.index_NHK.size(1),
             " queries, there are ", s.tokens, " x ", s.heads);
}

// Heads that share their keys are so many more tokens of one head, where queries lie so.
ProductKeySearch with_one_head(const ProductKeySearch& args) {
  const Sizes s(args);
  const auto even = [&](const auto& x) { return x.stride(0) == s.heads * x.stride(1); };
  if (s.sets > 1 || !even(args.q_NHC) || !even(args.index_NHK) || !even(args.score_NHK))
    return args;
  ProductKeySearch flat = args;
  const auto flatten = [&](auto& x) {
    x.sizes = {s.tokens * s.heads, 1, x.size(2)};
    x.strides = {x.stride(1), x.stride(1), 1};
  };
  flatten(flat.q_NHC), flatten(flat.index_NHK), flatten(flat.score_NHK);
  return flat;
}

// The best of one half for some tokens and one head: rows of both in falling order.
struct HalfBest {
  std::int32_t* row;
  float* score;
};

// One half's keys as the product reads them: laid out once, where there are enough queries.
Operand keys_of(const ProductKeySearch& args, Index which, const float* panels) {
  if (panels) return {.panels = panels};
  return {args.keys_SnC.row(which), args.keys_SnC.stride(1)};
}

// Scores of a half for the tokens from `first` on, and the best of them.
struct HalfSearch {
  const ProductKeySearch& args;
  const Variant<Gemm>& gemm;
  const Variant<Topk>& topk;
  const Run& run;

  void operator()(Index first, Index count, Index head, Index half, const Operand& keys,
                  float* scores, Index best_count, const HalfBest& best) const {
    const Sizes s(args);
    Gemm product;
    product.m = count, product.n = s.keys, product.k = s.half;
    product.a = {args.q_NHC.data + first * args.q_NHC.stride(0) + head * args.q_NHC.stride(1) +
                     half * s.half,
                 args.q_NHC.stride(0)};
    product.b = keys;
    product.c = scores, product.c_stride = s.keys;
    gemm.call(product, run);
    topk.call({view<const float>(scores, count, s.keys), view(best.row, count, best_count)}, run);
    for (Index t = 0; t < count; ++t)
      for (Index b = t * best_count; b < (t + 1) * best_count; ++b)
        best.score[b] = scores[t * s.keys + best.row[b]];
  }
};

// The k best sums of a number of `a` and one of `b`, both sorted, by falling sum, then place in a, then
// place in b. Sums of a row of pairs fall, so that of each row only the next is looked at, and row
// i + 1 only once a pair of row i was taken.
void best_pairs(const HalfBest& a, const HalfBest& b, Index count, Index keys, Index k,
                std::int32_t* index, float* score) {
  Scratch scratch;
  auto* next = scratch.take<std::int32_t>(count);  // the place in b of each row's next pair
  auto* sum = scratch.take<float>(count);
  Index rows = 0;
  const auto open_row = [&] {
    next[rows] = 0;
    sum[rows] = a.score[rows] + b.score[0];
    ++rows;
  };
  open_row();
  for (Index r = 0; r < k; ++r) {
    Index best = -1;
    for (Index i = 0; i < rows; ++i)
      if (next[i] < count && (best < 0 || ranks_above(sum[i], sum[best]))) best = i;
    index[r] = static_cast<std::int32_t>(a.row[best] * keys + b.row[next[best]]);
    score[r] = sum[best];
    if (best == rows - 1 && rows < count) open_row();
    if (++next[best] < count) sum[best] = a.score[best] + b.score[next[best]];
  }
}

// The pairs of one head and half, sorted by key.
struct SortedPairs {
  std::int32_t *first, *token;  // [n + 1], [N k]
  float* weight;                // [N k]
};

}  // namespace

void product_key_search(const ProductKeySearch& args, const Run& run) {
  check("product_key_search", args);
  MOTE_CHECK(args.score_NHK.sizes == args.index_NHK.sizes,
             "product_key_search: scores and indices have other sizes");
  const ProductKeySearch all = with_one_head(args);
  const Sizes s(all);
  if (s.tokens == 0) return;
  // Scores of a block stay in cache until they are ranked; whole tiles of any product.
  constexpr Index kScores = 1 << 16, kTile = 24;
  const Index block = std::clamp<Index>(kScores / s.keys / kTile * kTile, kTile, 5 * kTile);
  const Index blocks = (s.tokens + block - 1) / block, best_count = std::min(s.k, s.keys);

  Scratch shared;
  Gemm like;
  like.m = block, like.n = s.keys, like.k = s.half;
  const bool packed = s.tokens > kTile;
  const Index floats = gemm_packed_b_floats(like);
  float* panels = packed ? shared.take<float>(2 * s.sets * floats) : nullptr;
  const auto panels_of = [&](Index which) { return packed ? panels + which * floats : nullptr; };
  if (packed)
    parallel_for(*run.executor, 2 * s.sets, [&](Index which, int) {
      Gemm product = like;
      product.b = keys_of(all, which, nullptr);
      select(gemm_pack_b_variants(), run).call({product, panels_of(which)}, run);
    });

  const HalfSearch search{all, gemm_variant({}, run), select(topk_variants(), run), run};
  parallel_for(*run.executor, blocks * s.heads, [&](Index item, int) {
    const Index first = item / s.heads * block, head = item % s.heads;
    const Index count = std::min(block, s.tokens - first);
    Scratch scratch;
    auto* scores = scratch.take<float>(count * s.keys);
    HalfBest best[2];
    for (Index half = 0; half < 2; ++half) {
      const Index which = 2 * s.set_of(head) + half;
      best[half] = {scratch.take<std::int32_t>(count * best_count),
                    scratch.take<float>(count * best_count)};
      search(first, count, head, half, keys_of(all, which, panels_of(which)), scores, best_count,
             best[half]);
    }
    for (Index t = 0; t < count; ++t) {
      const auto of_token = [&](const HalfBest& lists) {
        return HalfBest{lists.row + t * best_count, lists.score + t * best_count};
      };
      best_pairs(of_token(best[0]), of_token(best[1]), best_count, s.keys, s.k,
                 &all.index_NHK(first + t, head, 0), &all.score_NHK(first + t, head, 0));
    }
  });
}

void product_key_backward(const ProductKeyBackward& args, const Run& run) {
  check("product_key_backward", args);
  const Sizes s(args);
  const Index pairs = s.tokens * s.k;
  MOTE_CHECK(pairs <= INT32_MAX, "product_key_backward: ", pairs, " pairs of a head");
  const auto key_of = [&](Index n, Index head, Index r, Index half) {
    const std::int32_t index = args.index_NHK(n, head, r);
    return static_cast<std::int32_t>(half == 0 ? index / s.keys : index % s.keys);
  };
  const auto half_keys = [&](Index set, Index half) {
    return View<const float, 2>{
        args.keys_SnC.row(2 * set + half), {s.keys, s.half}, {args.keys_SnC.stride(1), 1}};
  };
  Scratch scratch;
  auto* sorted = scratch.take<SortedPairs>(2 * s.heads);
  for (Index i = 0; i < 2 * s.heads; ++i)
    sorted[i] = {scratch.take<std::int32_t>(s.keys + 1), scratch.take<std::int32_t>(pairs),
                 scratch.take<float>(pairs)};

  // Per head and half: the queries' gradient, and the pairs by key.
  parallel_for(*run.executor, 2 * s.heads, [&](Index item, int) {
    const Index head = item / 2, half = item % 2;
    Scratch own;
    auto* key = own.take<std::int32_t>(pairs);
    auto* weight = own.take<float>(pairs);
    auto* first = own.take<std::int32_t>(s.tokens + 1);
    for (Index n = 0; n < s.tokens; ++n)
      for (Index r = 0; r < s.k; ++r) {
        key[n * s.k + r] = key_of(n, head, r, half);
        weight[n * s.k + r] = args.dscore_NHK(n, head, r);
      }
    for (Index n = 0; n <= s.tokens; ++n) first[n] = static_cast<std::int32_t>(n * s.k);
    row_sums(
        {table_of(half_keys(s.set_of(head), half)), key, s.k, nullptr, weight,
         View<float, 2>{
             &args.dq_NHC(0, head, half * s.half), {s.tokens, s.half}, {args.dq_NHC.stride(0), 1}}},
        {.ceiling = run.ceiling, .multiply_adds = run.multiply_adds});
    auto* order = own.take<std::int32_t>(pairs);
    auto* position = own.take<std::int32_t>(pairs);
    const SortedPairs& to = sorted[item];
    to.first[0] = 0;
    sort_routes({view<const std::int32_t>(key, pairs),
                 view<const std::int32_t>(first, s.tokens + 1), s.keys, to.first + 1, order,
                 to.token, position});
    for (Index p = 0; p < pairs; ++p) to.weight[p] = weight[order[p]];
  });

  constexpr Index kRows = 64;
  const Index blocks = (s.keys + kRows - 1) / kRows, heads_of_set = s.heads / s.sets;
  parallel_for(*run.executor, 2 * s.sets * blocks, [&](Index item, int) {
    const Index which = item / blocks, set = which / 2, half = which % 2;
    const Index first = item % blocks * kRows, count = std::min(kRows, s.keys - first);
    for (Index h = 0; h < heads_of_set; ++h) {
      const Index head = set * heads_of_set + h;
      const SortedPairs& from = sorted[2 * head + half];
      const View<const float, 2> q{args.q_NHC.data + head * args.q_NHC.stride(1) + half * s.half,
                                   {s.tokens, s.half},
                                   {args.q_NHC.stride(0), 1}};
      row_sums(
          {table_of(q), from.token, 0, from.first + first, from.weight,
           View<float, 2>{args.dkeys_SnC.row(which) + first * s.half, {count, s.half}, {s.half, 1}},
           h > 0},
          {.ceiling = run.ceiling, .multiply_adds = run.multiply_adds});
    }
  });
}

void product_key_search_reference(const ProductKeySearch& args) {
  const Sizes s(args);
  struct Pair {
    float score;
    std::size_t rank1, rank2;
    std::int32_t index;
  };
  const auto half_scores = [&](Index n, Index head, Index half) {
    std::vector<std::pair<float, Index>> ranked;
    for (Index i = 0; i < s.keys; ++i) {
      double sum = 0;
      for (Index c = 0; c < s.half; ++c)
        sum += static_cast<double>(args.q_NHC(n, head, half * s.half + c)) *
               static_cast<double>(args.keys_SnC(2 * s.set_of(head) + half, i, c));
      ranked.emplace_back(static_cast<float>(sum), i);
    }
    std::stable_sort(ranked.begin(), ranked.end(),
                     [](const auto& a, const auto& b) { return ranks_above(a.first, b.first); });
    return ranked;
  };
  for (Index n = 0; n < s.tokens; ++n)
    for (Index head = 0; head < s.heads; ++head) {
      const auto one = half_scores(n, head, 0), two = half_scores(n, head, 1);
      std::vector<Pair> all;
      for (std::size_t a = 0; a < one.size(); ++a)
        for (std::size_t b = 0; b < two.size(); ++b)
          all.push_back({one[a].first + two[b].first, a, b,
                         static_cast<std::int32_t>(one[a].second * s.keys + two[b].second)});
      std::stable_sort(all.begin(), all.end(),
                       [](const Pair& a, const Pair& b) { return ranks_above(a.score, b.score); });
      for (Index r = 0; r < s.k; ++r) {
        args.index_NHK(n, head, r) = all[static_cast<std::size_t>(r)].index;
        args.score_NHK(n, head, r) = all[static_cast<std::size_t>(r)].score;
      }
    }
}

void product_key_backward_reference(const ProductKeyBackward& args) {
  const Sizes s(args);
  std::vector<double> dkeys(static_cast<std::size_t>(2 * s.sets * s.keys * s.half));
  for (Index n = 0; n < s.tokens; ++n)
    for (Index head = 0; head < s.heads; ++head)
      for (Index half = 0; half < 2; ++half)
        for (Index c = 0; c < s.half; ++c) {
          const Index which = 2 * s.set_of(head) + half;
          double dq = 0;
          for (Index r = 0; r < s.k; ++r) {
            const Index index = args.index_NHK(n, head, r);
            const Index key = half == 0 ? index / s.keys : index % s.keys;
            const auto ds = static_cast<double>(args.dscore_NHK(n, head, r));
            dq += ds * static_cast<double>(args.keys_SnC(which, key, c));
            dkeys[static_cast<std::size_t>((which * s.keys + key) * s.half + c)] +=
                ds * static_cast<double>(args.q_NHC(n, head, half * s.half + c));
          }
          args.dq_NHC(n, head, half * s.half + c) = static_cast<float>(dq);
        }
  for (std::size_t i = 0; i < dkeys.size(); ++i)
    args.dkeys_SnC.data[i] = static_cast<float>(dkeys[i]);
}

}  // namespace mote::kernels
