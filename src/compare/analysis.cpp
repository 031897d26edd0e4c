#include "compare/analysis.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/process.h"
#include "model/loss.h"
#include "model/saved.h"

namespace mote::compare {
namespace {

constexpr std::size_t kMostBins = 128, kMostPairs = 64, kMostRanks = 200;

// As many digits as are read: rows are kept, and a layer has thousands of numbers.
double rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double scale = std::pow(10, 4 - std::ceil(std::log10(std::abs(value))));
  return std::isfinite(scale) ? std::round(value * scale) / scale : value;
}

// Where part i of `parts` begins, of `size` things.
std::size_t begin_of(std::size_t i, std::size_t parts, std::size_t size) {
  return i * size / parts;
}

// Shares of all in the order of the experts, neighbours added up where there are many.
Json binned(const std::vector<double>& share_E) {
  const std::size_t bins = std::min(kMostBins, share_E.size());
  Json list = Json::array();
  for (std::size_t b = 0; b < bins; ++b) {
    double sum = 0;
    for (std::size_t e = begin_of(b, bins, share_E.size());
         e < begin_of(b + 1, bins, share_E.size()); ++e)
      sum += share_E[e];
    list.push_back(rounded(sum));
  }
  return list;
}

// Shares by falling size, at ranks from 1 that are about equally far apart on a logarithmic axis.
Json sorted_shares(std::vector<double> share_E) {
  std::sort(share_E.rbegin(), share_E.rend());
  Json ranks = Json::array(), shares = Json::array();
  std::size_t last = 0;
  for (std::size_t i = 0; i <= kMostRanks; ++i) {
    const double at = std::pow(static_cast<double>(share_E.size()),
                               static_cast<double>(i) / static_cast<double>(kMostRanks));
    const std::size_t rank =
        share_E.size() <= kMostRanks ? i + 1 : static_cast<std::size_t>(std::llround(at));
    if (rank == last || rank > share_E.size()) continue;
    ranks.push_back(rank);
    shares.push_back(rounded(share_E[rank - 1]));
    last = rank;
  }
  return {{"rank", ranks}, {"share", shares}};
}

// Of the tokens that use an expert of a row and another, the shares that the others have; the diagonal
// is 0.
Json together(const model::LayerUsage& usage) {
  const auto experts = static_cast<std::size_t>(usage.experts);
  const std::size_t parts = std::min(kMostPairs, experts);
  std::vector<std::vector<double>> sum(parts, std::vector<double>(parts));
  for (std::size_t a = 0; a < parts; ++a)
    for (std::size_t b = 0; b < parts; ++b)
      for (std::size_t i = begin_of(a, parts, experts); i < begin_of(a + 1, parts, experts); ++i)
        for (std::size_t j = begin_of(b, parts, experts); j < begin_of(b + 1, parts, experts); ++j)
          if (i != j) sum[a][b] += static_cast<double>(usage.together_EE[i * experts + j]);
  Json rows = Json::array();
  for (const auto& row : sum) {
    double all = 0;
    for (const double each : row) all += each;
    Json cells = Json::array();
    for (const double each : row) cells.push_back(all > 0 ? rounded(each / all) : 0);
    rows.push_back(cells);
  }
  return rows;
}

std::vector<double> shares_of(const std::vector<double>& weight_E) {
  double sum = 0;
  for (const double weight : weight_E) sum += weight;
  std::vector<double> share = weight_E;
  for (double& each : share) each = sum > 0 ? each / sum : 0;
  return share;
}

}  // namespace

Json layer_row(const model::LayerUsage& usage) {
  Json row = {{"layer", usage.layer}};
  if (usage.experts > 0) {
    const std::vector<double> weighted = shares_of(usage.weight_E);
    const std::vector<double> counted = shares_of({usage.count_E.begin(), usage.count_E.end()});
    row.update({{"experts", usage.experts},
                {"tokens", usage.tokens},
                {"rows", usage.rows},
                {"usage", usage.usage()},
                {"unevenness", usage.unevenness()},
                {"usage_perplexity", usage.perplexity()},
                {"dead", usage.dead()},
                {"weight_shares", binned(weighted)},
                {"count_shares", binned(counted)},
                {"sorted", sorted_shares(weighted)}});
    if (usage.overlap()) row["overlap"] = *usage.overlap();
    if (!usage.together_EE.empty() && usage.experts > 1) row["together"] = together(usage);
  }
  row["active_mean"] = usage.active().mean();
  row["active_deviation"] = usage.active().deviation();
  return row;
}

Json analyse(const std::filesystem::path& folder, const train::Recipe& recipe,
             const kernels::Run& run) {
  const auto model = model::load_model(folder, *run.executor);
  const auto tokenizer = model::load_tokenizer(folder, model->config());
  const auto corpus = text::open_corpus(
      recipe.data.valid, static_cast<std::uint64_t>(recipe.data.valid_bytes), recipe.data.format());
  model::Pass pass;
  pass.run = run;
  pass.seed = static_cast<std::uint64_t>(recipe.training.seed);
  model::UsageCount usage(/*channels=*/true);
  log::Progress progress(
      "analysing", static_cast<std::int64_t>((1 + kCorrupted.size()) * corpus->bytes()), "bytes");
  std::int64_t before = 0;
  model::CorpusLossOptions options;
  options.progress = [&](std::int64_t bytes) {
    progress.update(before + bytes);
    stop_if_interrupted();
  };
  pass.observer = &usage;
  model::corpus_loss(*model, *tokenizer, *corpus, pass, options);
  pass.observer = nullptr;
  Json facts = {{"layers", Json::array()}, {"corrupted", Json::array()}};
  for (const model::LayerUsage& layer : usage.layers()) facts["layers"].push_back(layer_row(layer));
  for (const double share : kCorrupted) {
    before += static_cast<std::int64_t>(corpus->bytes());
    options.corrupted = share;
    const model::CorpusLoss loss = model::corpus_loss(*model, *tokenizer, *corpus, pass, options);
    facts["corrupted"].push_back({{"share", share}, {"valid_loss", loss.mean()}});
  }
  progress.finish();
  return facts;
}

}  // namespace mote::compare
