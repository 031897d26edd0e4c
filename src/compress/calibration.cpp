#include "compress/calibration.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/linear/gemm/gemm.h"
#include "model/ops/bridge.h"

namespace mote::compress {
namespace {

// Numbers of `wanted` of `count` things, rising; of all, if there are no more.
std::vector<std::size_t> drawn(std::size_t count, std::size_t wanted, std::uint64_t seed) {
  wanted = std::min(wanted, count);
  std::vector<std::size_t> chosen(count);
  std::iota(chosen.begin(), chosen.end(), 0);
  const Rng rng(seed, Purpose::calibration);
  for (std::size_t i = 0; i < wanted; ++i)
    std::swap(chosen[i], chosen[i + static_cast<std::size_t>(rng.below(count - i, i))]);
  chosen.resize(wanted);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

struct Piece {
  std::size_t document, first, length;
};

// Of a text and its pair; `counts`: whether a token's row does.
template <class Counts>
std::vector<char> mask(const std::vector<text::TokenId>& ids, const Counts& counts) {
  std::vector<char> counted;
  for (std::size_t i = 0; i < ids.size(); ++i) counted.push_back(counts(ids[i]) ? 1 : 0);
  return counted;
}

}  // namespace

std::vector<SampleText> draw_samples(const text::Corpus& corpus, const text::Tokenizer& tokenizer,
                                     const SampleOptions& options) {
  std::vector<std::vector<text::TokenId>> documents;
  std::vector<Piece> pieces;
  const auto most = static_cast<std::size_t>(options.length);
  for (const std::string_view text : corpus.documents()) {
    documents.emplace_back();
    tokenizer.encode(text, documents.back());
    for (std::size_t first = 0; first < documents.back().size(); first += most)
      pieces.push_back(
          {documents.size() - 1, first, std::min(most, documents.back().size() - first)});
  }
  MOTE_CHECK(!pieces.empty(), "calibration: the corpus holds no text");
  std::vector<SampleText> samples;
  for (const std::size_t c :
       drawn(pieces.size(), static_cast<std::size_t>(options.samples), options.seed)) {
    const Piece& piece = pieces[c];
    const auto begin = documents[piece.document].begin() + static_cast<std::ptrdiff_t>(piece.first);
    samples.push_back({options.before});
    std::vector<text::TokenId>& ids = samples.back().ids;
    ids.insert(ids.end(), begin, begin + static_cast<std::ptrdiff_t>(piece.length));
  }
  return samples;
}

std::vector<SampleText> draw_pairs(const text::Corpus& corpus, const text::Tokenizer& tokenizer,
                                   const SampleOptions& options, const text::PairOptions& pairs,
                                   bool count_special) {
  const text::TokenId start = text::start_token(tokenizer), end = text::end_token(tokenizer);
  std::vector<text::Pair> chosen;
  if (pairs.task == text::Task::span_corruption) {
    const text::SpanCorruption corrupt(tokenizer, pairs.spans, text::SpanCorruption::Form::qmoe);
    SampleOptions pieces = options;
    pieces.before = {};
    // One is the end token's.
    pieces.length = corrupt.most_tokens(pairs.source_tokens, pairs.target_tokens) - 1;
    std::uint64_t number = 0;
    for (SampleText& piece : draw_samples(corpus, tokenizer, pieces)) {
      piece.ids.push_back(end);
      chosen.push_back(corrupt(piece.ids, Rng(options.seed, Purpose::span_corruption, number++)));
    }
  } else {
    std::vector<text::Pair> all;
    text::for_each_pair(corpus, tokenizer, pairs,
                        [&](text::Pair pair) { all.push_back(std::move(pair)); });
    MOTE_CHECK(!all.empty(), "calibration: the corpus holds no pairs");
    for (const std::size_t c :
         drawn(all.size(), static_cast<std::size_t>(options.samples), options.seed))
      chosen.push_back(std::move(all[c]));
  }
  std::vector<SampleText> samples;
  const auto counts = [&](text::TokenId id) {
    return count_special || id == end || !tokenizer.special(id);
  };
  for (text::Pair& pair : chosen) {
    SampleText sample;
    sample.counted = mask(pair.target, counts);
    sample.source_counted = mask(pair.source, counts);
    sample.ids = std::move(pair.target);
    sample.ids.pop_back();
    sample.ids.insert(sample.ids.begin(), start);
    sample.source = std::move(pair.source);
    samples.push_back(std::move(sample));
  }
  return samples;
}

Moments::Moments(std::int64_t experts, std::int64_t left, std::int64_t right, std::int64_t cap)
    : cap_(cap),
      sum_ELR_(torch::zeros({experts, left, right}, torch::kFloat32)),
      rows_(static_cast<std::size_t>(experts)) {}

void Moments::add(const MomentRows& a, const MomentRows& b, const Tensor& ends_E,
                  const model::Pass& pass) {
  const Tensor left = a.rows.contiguous(), right = b.rows.contiguous();
  const auto operand = [](const Tensor& x, const std::int32_t* pick, std::int64_t first) {
    const float* data = x.const_data_ptr<float>();
    return pick ? kernels::Operand{data, x.size(1), kernels::Rows::inner, pick + first}
                : kernels::Operand{data + first * x.size(1), x.size(1), kernels::Rows::inner};
  };
  const auto* ends = ends_E.const_data_ptr<std::int32_t>();
  const std::int64_t l = left.size(1), r = right.size(1);
  float* sums = sum_ELR_.mutable_data_ptr<float>();
  const auto& variant = kernels::gemm_variant({}, pass.run);
  parallel_for(*pass.run.executor, sum_ELR_.size(0), [&](std::int64_t e, int) {
    std::int64_t& counted = rows_[static_cast<std::size_t>(e)];
    const std::int64_t first = e == 0 ? 0 : ends[e - 1];
    const std::int64_t count = std::min<std::int64_t>(ends[e] - first, cap_ - counted);
    if (count == 0) return;
    kernels::Gemm g;
    g.m = l, g.n = r, g.k = count;
    g.a = operand(left, a.pick, first);
    g.b = operand(right, b.pick, first);
    g.c = sums + e * l * r, g.c_stride = r;
    g.finish.accumulate = true;
    variant.call(g, pass.run);
    counted += count;
  });
}

std::int64_t row_cap(const model::ops::StackRows& rows, std::int64_t tokens, std::int64_t factor) {
  if (!rows.routes) return std::numeric_limits<std::int64_t>::max();
  const model::ops::SortedRoutes& routes = *rows.routes;
  const std::int64_t routed = tokens * routes.rows() / std::max<std::int64_t>(1, routes.tokens());
  return std::max<std::int64_t>(1, factor * routed / routes.num_experts());
}

namespace {

Tensor order_of(const model::ops::StackRows& rows) {
  return rows.routes ? rows.routes->order_R : Tensor();
}

}  // namespace

std::size_t InputMoments::group_of(const std::string& name, const Tensor& x,
                                   const model::ops::StackRows& rows) {
  const auto known = group_.find(name);
  if (known != group_.end()) return known->second;
  // Both are held, so that no other tensors can lie where they do.
  const bool shared = last_x_.defined() && last_x_.const_data_ptr() == x.const_data_ptr() &&
                      last_x_.sizes() == x.sizes() && last_order_R_.is_same(order_of(rows));
  const std::size_t group = shared ? last_group_ : groups_.size();
  if (!shared) groups_.emplace_back();
  groups_[group].push_back(name);
  group_[name] = group;
  return group;
}

namespace {

// Sorted rows that count, and where each expert's end.
struct CountedRows {
  std::vector<std::int32_t> pick;
  Tensor ends_E;
};

CountedRows counted_rows(const model::ops::SortedRoutes& routes, const std::vector<char>& counted,
                         bool by_token) {
  CountedRows rows;
  rows.ends_E = torch::empty_like(routes.ends_E);
  const auto *ends = routes.ends_E.const_data_ptr<std::int32_t>(),
             *token = routes.token_R.const_data_ptr<std::int32_t>();
  auto* new_ends = rows.ends_E.mutable_data_ptr<std::int32_t>();
  for (std::int64_t e = 0; e < routes.num_experts(); ++e) {
    for (std::int32_t r = e == 0 ? 0 : ends[e - 1]; r < ends[e]; ++r)
      if (counted[static_cast<std::size_t>(token[r])]) rows.pick.push_back(by_token ? token[r] : r);
    new_ends[e] = static_cast<std::int32_t>(rows.pick.size());
  }
  return rows;
}

}  // namespace

void InputMoments::saw(const std::string& name, const Tensor& x,
                       const model::ops::StackRows& rows) {
  const std::size_t group = group_of(name, x, rows);
  last_x_ = x, last_order_R_ = order_of(rows), last_group_ = group;
  if (groups_[group].front() != name) return;  // summed already
  const std::int64_t width = x.size(-1);
  const Tensor x_NI = x.detach().reshape({-1, width});
  if (moments_.size() <= group) {
    const std::int64_t experts = rows.routes ? rows.routes->num_experts() : 1;
    moments_.push_back(
        std::make_unique<Moments>(experts, width, width, row_cap(rows, tokens_, cap_factor_)));
  }
  const bool by_token = rows.routes && !rows.gathered;
  if (rows.routes && !counted_.empty()) {
    MOTE_CHECK(static_cast<std::int64_t>(counted_.size()) == rows.routes->tokens(), name, ": ",
               rows.routes->tokens(), " tokens, of which ", counted_.size(), " count or do not");
    const CountedRows some = counted_rows(*rows.routes, counted_, by_token);
    const MomentRows factor{x_NI, some.pick.data()};
    moments_[group]->add(factor, factor, some.ends_E, run_);
    return;
  }
  const MomentRows factor{x_NI,
                          by_token ? rows.routes->token_R.const_data_ptr<std::int32_t>() : nullptr};
  const Tensor ends_E =
      rows.routes ? rows.routes->ends_E : torch::full({1}, x_NI.size(0), torch::kInt32);
  moments_[group]->add(factor, factor, ends_E, run_);
}

Statistics InputMoments::of(const std::string& name) const {
  const auto found = group_.find(name);
  if (found == group_.end()) return {};
  const Moments& moments = *moments_[found->second];
  return {moments.sum_ELR(), moments.rows()};
}

}  // namespace mote::compress
