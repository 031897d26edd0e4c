#include "kernels/lookup/product_keys/product_keys.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/lookup/best_keys/best_keys.h"
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

// The queries of some tokens of one head, and half of each.
View<const float, 2> half_queries(const ProductKeySearch& args, Index first, Index count,
                                  Index head, Index half) {
  const Sizes s(args);
  return {
      args.q_NHC.data + first * args.q_NHC.stride(0) + head * args.q_NHC.stride(1) + half * s.half,
      {count, s.half},
      {args.q_NHC.stride(0), 1}};
}
View<const float, 2> half_keys(View<const float, 3> keys_SnC, Index which) {
  return {keys_SnC.row(which), {keys_SnC.size(1), keys_SnC.size(2)}, {keys_SnC.stride(1), 1}};
}

// The best of a half by all its scores in float32. Keys are laid out once where there are enough queries.
class ByProducts {
 public:
  static constexpr Index kTile = 24;  // whole tiles of any product

  ByProducts(const ProductKeySearch& args, const Run& run, Scratch& shared)
      : args_(args), gemm_(gemm_variant({}, run)), topk_(select(topk_variants(), run)), run_(run) {
    const Sizes s(args);
    if (s.tokens <= kTile) return;
    Gemm like;
    like.m = block(), like.n = s.keys, like.k = s.half;
    floats_ = gemm_packed_b_floats(like);
    panels_ = shared.take<float>(2 * s.sets * floats_);
    parallel_for(*run.executor, 2 * s.sets, [&](Index which, int) {
      Gemm product = like;
      product.b = {args.keys_SnC.row(which), args.keys_SnC.stride(1)};
      select(gemm_pack_b_variants(), run).call({product, panels_ + which * floats_}, run);
    });
  }

  // Tokens whose scores stay in cache until they are ranked.
  Index block() const {
    constexpr Index kScores = 1 << 16;
    return std::clamp<Index>(kScores / args_.keys_SnC.size(1) / kTile * kTile, kTile, 5 * kTile);
  }

  void operator()(View<const float, 2> q_MC, Index which, Index best_count,
                  const HalfBest& best) const {
    const Index count = q_MC.size(0), keys = args_.keys_SnC.size(1);
    Scratch scratch;
    auto* scores = scratch.take<float>(count * keys);
    Gemm product;
    product.m = count, product.n = keys, product.k = q_MC.size(1);
    product.a = {q_MC.data, q_MC.stride(0)};
    if (panels_)
      product.b.panels = panels_ + which * floats_;
    else
      product.b = {args_.keys_SnC.row(which), args_.keys_SnC.stride(1)};
    product.c = scores, product.c_stride = keys;
    gemm_.call(product, run_);
    topk_.call({view<const float>(scores, count, keys), view(best.row, count, best_count)}, run_);
    for (Index t = 0; t < count; ++t)
      for (Index b = t * best_count; b < (t + 1) * best_count; ++b)
        best.score[b] = scores[t * keys + best.row[b]];
  }

 private:
  const ProductKeySearch& args_;
  const Variant<Gemm>& gemm_;
  const Variant<Topk>& topk_;
  const Run& run_;
  float* panels_ = nullptr;
  Index floats_ = 0;
};

// The best of a half by the scores of few keys, where there are many.
class ByBestKeys {
 public:
  ByBestKeys(const ProductKeySearch& args, const Run& run, Scratch& shared)
      : args_(args),
        best_keys_(select(best_keys_variants(), run)),
        run_(run),
        layout_(args.keys_SnC.size(1), args.keys_SnC.size(2)),
        sets_(args.keys_SnC.size(0)),
        keys_(shared.take<std::byte>(sets_ * layout_.bytes())) {
    parallel_for(*run.executor, sets_, [&](Index which, int) {
      select(lay_out_keys_variants(), run)
          .call({half_keys(args.keys_SnC, which), keys(which)}, run);
    });
  }
  // Where it was measured to pay, on every instruction set: with fewer columns or more results it costs
  // more than a product saves, with fewer queries laying out keys does.
  static bool suits(const ProductKeySearch& args, const Run& run) {
    const Sizes s(args);
    const bool pays =
        s.tokens >= 96 && s.half >= 64 && s.keys >= 32 * s.k && s.keys * s.half >= 4096 * s.k;
    return pays && suits_best_keys(s.keys, s.k, s.half) &&
           select(best_keys_variants(), run).isa != Isa::reference;
  }
  bool usable() const {
    bool all = true;
    for (Index which = 0; which < sets_; ++which) all = all && laid_out(keys(which));
    return all;
  }
  Index block() const { return 2 * BestKeys::kQueries; }

  void operator()(View<const float, 2> q_MC, Index which, Index best_count,
                  const HalfBest& best) const {
    const Index count = q_MC.size(0);
    Scratch scratch;
    best_keys_.call({q_MC, half_keys(args_.keys_SnC, which), keys(which),
                     scratch.take<std::byte>(BestKeys::work_bytes(layout_)),
                     view(best.row, count, best_count), view(best.score, count, best_count)},
                    run_);
    run_.count(count * args_.keys_SnC.size(1) * q_MC.size(1));
  }

 private:
  std::byte* keys(Index which) const { return keys_ + which * layout_.bytes(); }

  const ProductKeySearch& args_;
  const Variant<BestKeys>& best_keys_;
  const Run& run_;
  const KeyLayout layout_;
  const Index sets_;
  std::byte* const keys_;
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

template <class Search>
void search_by(const Search& search, const ProductKeySearch& args, const Run& run) {
  const Sizes s(args);
  const Index block = search.block(), blocks = (s.tokens + block - 1) / block,
              best_count = std::min(s.k, s.keys);
  parallel_for(*run.executor, blocks * s.heads, [&](Index item, int) {
    const Index first = item / s.heads * block, head = item % s.heads;
    const Index count = std::min(block, s.tokens - first);
    Scratch scratch;
    HalfBest best[2];
    for (Index half = 0; half < 2; ++half) {
      best[half] = {scratch.take<std::int32_t>(count * best_count),
                    scratch.take<float>(count * best_count)};
      search(half_queries(args, first, count, head, half), 2 * s.set_of(head) + half, best_count,
             best[half]);
    }
    for (Index t = 0; t < count; ++t) {
      const auto of_token = [&](const HalfBest& lists) {
        return HalfBest{lists.row + t * best_count, lists.score + t * best_count};
      };
      best_pairs(of_token(best[0]), of_token(best[1]), best_count, s.keys, s.k,
                 &args.index_NHK(first + t, head, 0), &args.score_NHK(first + t, head, 0));
    }
  });
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
  if (all.q_NHC.size(0) == 0) return;
  Scratch shared;
  if (ByBestKeys::suits(all, run)) {
    const ByBestKeys search(all, run, shared);
    if (search.usable()) return search_by(search, all, run);
  }
  search_by(ByProducts(all, run, shared), all, run);
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
        {table_of(half_keys(args.keys_SnC, 2 * s.set_of(head) + half)), key, s.k, nullptr, weight,
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
