#include "compress/calibration.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/linear/gemm/gemm.h"
#include "model/ops/bridge.h"

namespace mote::compress {
namespace {

using kernels::Gemm;
using kernels::Operand;

// First sorted row and number of counted rows of an expert.
struct ExpertRows {
  std::int64_t first, count;
};
ExpertRows rows_of(const model::ops::SortedRoutes& routes, std::int64_t expert, std::int64_t cap) {
  const auto* ends = routes.ends_E.const_data_ptr<std::int32_t>();
  const std::int64_t first = expert == 0 ? 0 : ends[expert - 1];
  return {first, std::min<std::int64_t>(ends[expert] - first, cap)};
}

// c[e] = sum over the expert's rows of a b^T, one expert at a time per thread. `side` gives an
// operand its rows.
template <class Side>
Tensor moments(std::int64_t left, std::int64_t right, const model::ops::SortedRoutes& routes,
               std::int64_t cap, const model::Pass& pass, const Side& side) {
  const std::int64_t experts = routes.ends_E.size(0);
  Tensor c_ELR = torch::empty({experts, left, right}, torch::kFloat32);
  float* out = c_ELR.mutable_data_ptr<float>();
  const auto& variant = kernels::gemm_variant({}, pass.run);
  parallel_for(*pass.run.executor, experts, [&](std::int64_t e, int worker) {
    const ExpertRows rows = rows_of(routes, e, cap);
    Gemm g;
    g.m = left, g.n = right, g.k = rows.count;
    std::tie(g.a, g.b) = side(rows.first);
    g.c = out + e * left * right, g.c_stride = right;
    g.scratch = kernels::gemm_scratch(*pass.run.executor, worker);
    variant.call(g, pass.run);
  });
  return c_ELR;
}

std::vector<std::int64_t> counts(const model::ops::SortedRoutes& routes, std::int64_t cap) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t e = 0; e < routes.ends_E.size(0); ++e)
    tokens.push_back(rows_of(routes, e, cap).count);
  return tokens;
}

}  // namespace

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
    samples.push_back({tokenizer.end_of_text()});
    samples.back().insert(samples.back().end(), begin,
                          begin + static_cast<std::ptrdiff_t>(piece.length));
  }
  return samples;
}

Statistics input_moments(const Tensor& x_any, const model::ops::SortedRoutes& routes,
                         std::int64_t cap, const model::Pass& pass) {
  const Tensor x_ND = x_any.contiguous();
  const auto* token = routes.token_R.const_data_ptr<std::int32_t>();
  const std::int64_t dim = x_ND.size(1);
  const auto side = [&](std::int64_t first) {
    const Operand rows{x_ND.const_data_ptr<float>(), dim, kernels::Rows::inner, token + first};
    return std::pair{rows, rows};
  };
  return {moments(dim, dim, routes, cap, pass, side), counts(routes, cap)};
}

Tensor cross_moments(const Tensor& a_any, const Tensor& b_any,
                     const model::ops::SortedRoutes& routes, std::int64_t cap,
                     const model::Pass& pass) {
  const Tensor a_RA = a_any.contiguous(), b_RB = b_any.contiguous();
  const auto side = [&](std::int64_t first) {
    const auto rows = [&](const Tensor& x) {
      return Operand{x.const_data_ptr<float>() + first * x.size(1), x.size(1),
                     kernels::Rows::inner};
    };
    return std::pair{rows(a_RA), rows(b_RB)};
  };
  return moments(a_RA.size(1), b_RB.size(1), routes, cap, pass, side);
}

Statistics sorted_moments(const Tensor& u_RG, const model::ops::SortedRoutes& routes,
                          std::int64_t cap, const model::Pass& pass) {
  return {cross_moments(u_RG, u_RG, routes, cap, pass), counts(routes, cap)};
}

}  // namespace mote::compress
