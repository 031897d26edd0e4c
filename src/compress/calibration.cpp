#include "compress/calibration.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/linear/gemm/gemm.h"
#include "model/ops/bridge.h"

namespace mote::compress {
std::vector<std::vector<text::TokenId>> draw_samples(const text::Corpus& corpus,
                                                     const text::Tokenizer& tokenizer,
                                                     const SampleOptions& options) {
  struct Piece {
    std::size_t document, first, length;
  };
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
  const std::size_t wanted = std::min(static_cast<std::size_t>(options.samples), pieces.size());
  std::vector<std::size_t> chosen(pieces.size());
  std::iota(chosen.begin(), chosen.end(), 0);
  const Rng rng(options.seed, Purpose::calibration);
  for (std::size_t i = 0; i < wanted; ++i)
    std::swap(chosen[i], chosen[i + static_cast<std::size_t>(rng.below(chosen.size() - i, i))]);
  chosen.resize(wanted);
  std::sort(chosen.begin(), chosen.end());
  std::vector<std::vector<text::TokenId>> samples;
  for (const std::size_t c : chosen) {
    const Piece& piece = pieces[c];
    const auto begin = documents[piece.document].begin() + static_cast<std::ptrdiff_t>(piece.first);
    samples.push_back(tokenizer.start());
    samples.back().insert(samples.back().end(), begin,
                          begin + static_cast<std::ptrdiff_t>(piece.length));
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
