#include "compare/analysis.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "model/loss.h"
#include "model/saved.h"
#include "tests/support/files.h"
#include "tests/support/models.h"
#include "text/bpe.h"

namespace mote::compare {
namespace {

namespace ck = checkpoint;

// A model that nobody trained, with its tokenizer, and a text to read.
class Analysis : public ::testing::Test {
 protected:
  void make(const ck::FeedForwardConfig& feed_forward) {
    std::string text;
    const Rng rng(1, Purpose::test);
    for (std::uint64_t i = 0; i < 600; ++i) text += static_cast<char>('a' + rng.below(26, i));
    recipe_.data.valid = folder_.file("valid.txt", text).string();
    recipe_.data.valid_bytes = 500;
    ck::ModelConfig& config = recipe_.model;
    config.vocab_size = 257;
    config.layers = 2, config.dim = 16, config.context = 32;
    config.attention = ck::TransformerXl{2, 8, 1, 1};
    config.feed_forward = feed_forward;
    const auto model = model::make_model(config);
    model::initialize(*model, 9);
    model::save_model(*model, folder_.path());
    const auto tokenizer = text::tokenizer_named("bytes");
    model::save_tokenizer(*tokenizer, model::own_bounds(*tokenizer), folder_.path());
    run_.executor = &testing::test_executor();
  }
  model::CorpusLoss loss(model::Observer* observer, double corrupted = 0, std::uint64_t seed = 1) {
    const auto model = model::load_model(folder_.path(), *run_.executor);
    const auto tokenizer = model::load_tokenizer(folder_.path(), model->config());
    const auto corpus = text::open_corpus(recipe_.data.valid, 500);
    model::Pass pass;
    pass.run = run_;
    pass.seed = seed;
    pass.observer = observer;
    model::CorpusLossOptions options;
    options.corrupted = corrupted;
    return model::corpus_loss(*model, *tokenizer, *corpus, pass, options);
  }
  test::TemporaryFolder folder_;
  train::Recipe recipe_;
  kernels::Run run_;
};

class Recorder final : public model::Observer {
 public:
  void routed(const std::string& name, const model::ops::Assignment& assignment) override {
    for (std::int64_t r = 0; r < assignment.rows(); ++r) {
      const int expert = assignment.expert_R[r].item<int>();
      weight[name][expert] += assignment.gate_R[r].item<double>();
      ++count[name][expert];
    }
    experts = assignment.num_experts;
  }
  std::map<std::string, std::map<int, double>> weight;
  std::map<std::string, std::map<int, std::int64_t>> count;
  std::int64_t experts = 0;
};

TEST_F(Analysis, ARowsUsageEqualsARecountFromTheAssignments) {
  ck::Peer peer;
  peer.experts = 225;  // more than a row has bins
  peer.router.heads = 2, peer.router.experts_per_head = 3;
  peer.router.query = ck::LinearQuery{8};
  make(peer);
  const Json row = analyse(folder_.path(), recipe_, run_);
  Recorder recorder;
  loss(&recorder);
  ASSERT_EQ(row["layers"].size(), 2u);
  for (const Json& layer : row["layers"]) {
    auto& weight = recorder.weight.at(layer["layer"]);
    auto& count = recorder.count.at(layer["layer"]);
    double sum = 0, divergence = std::log(225.0), entropy = 0;
    std::int64_t used = 0, rows = 0;
    for (const auto& [expert, w] : weight) sum += w, used += w > 0;
    for (const auto& [expert, n] : count) rows += n;
    std::vector<double> shares;
    for (const auto& [expert, w] : weight)
      if (w > 0) divergence += w / sum * std::log(w / sum), shares.push_back(w / sum);
    for (const auto& [expert, n] : count) {
      const double share = static_cast<double>(n) / static_cast<double>(rows);
      entropy -= share * std::log(share);
    }
    EXPECT_EQ(layer["experts"], 225);
    EXPECT_EQ(layer["tokens"], 500);
    EXPECT_EQ(layer["rows"], rows);
    EXPECT_NEAR(layer["usage"].get<double>(), static_cast<double>(used) / 225, 1e-12);
    EXPECT_NEAR(layer["unevenness"].get<double>(), divergence, 1e-6);
    EXPECT_NEAR(layer["usage_perplexity"].get<double>(), std::exp(entropy) / 225, 1e-9);
    EXPECT_NEAR(layer["dead"].get<double>(), 1 - static_cast<double>(count.size()) / 225, 1e-12);
    // Rows are written with four digits.
    std::sort(shares.rbegin(), shares.rend());
    EXPECT_EQ(layer["sorted"]["rank"][0], 1);
    EXPECT_NEAR(layer["sorted"]["share"][0].get<double>(), shares[0], 1e-3 * shares[0]);
    ASSERT_EQ(layer["weight_shares"].size(), 128u);
    for (std::size_t bin = 0; bin < 128; ++bin) {
      double in_bin = 0;
      for (std::size_t e = bin * 225 / 128; e < (bin + 1) * 225 / 128; ++e)
        in_bin += weight[static_cast<int>(e)] / sum;
      EXPECT_NEAR(layer["weight_shares"][bin].get<double>(), in_bin, 1e-3 * in_bin + 1e-12);
    }
    ASSERT_EQ(layer["together"].size(), 64u);
  }
}

TEST_F(Analysis, CoOccurrenceRowsAreSharesOfTheOthers) {
  ck::Mixture mixture;
  mixture.experts = 5, mixture.expert_width = 6, mixture.router.experts_per_token = 2;
  make(mixture);
  for (const Json& layer : analyse(folder_.path(), recipe_, run_)["layers"]) {
    ASSERT_EQ(layer["together"].size(), 5u);
    for (std::size_t i = 0; i < 5; ++i) {
      double sum = 0;
      for (const Json& cell : layer["together"][i]) sum += cell.get<double>();
      EXPECT_NEAR(sum, layer["count_shares"][i] > 0 ? 1 : 0, 2e-3);
      EXPECT_EQ(layer["together"][i][i], 0.0);
    }
  }
}

TEST_F(Analysis, CorruptedInputIsTheSameForASeedAndLeavesTheTargets) {
  make(ck::Dense{24});
  const Json row = analyse(folder_.path(), recipe_, run_);
  ASSERT_EQ(row["corrupted"].size(), kCorrupted.size());
  const double clean = loss(nullptr).mean();
  for (std::size_t i = 0; i < kCorrupted.size(); ++i) {
    EXPECT_EQ(row["corrupted"][i]["share"], kCorrupted[i]);
    const double again = loss(nullptr, kCorrupted[i]).mean();
    EXPECT_EQ(row["corrupted"][i]["valid_loss"].get<double>(), again);
    EXPECT_NE(again, clean);
    EXPECT_NE(again, loss(nullptr, kCorrupted[i], 2).mean()) << "another seed replaces others";
    EXPECT_EQ(loss(nullptr, kCorrupted[i]).tokens, loss(nullptr).tokens);
  }
}

// A model that only sees the token it is at tells how many were replaced.
TEST_F(Analysis, AboutTheShareAskedForIsReplaced) {
  make(ck::Dense{24});
  class Changed final : public model::Observer {
   public:
    bool wants(const std::string& name) const override {
      return name == "blocks.0.attention.q.weight";
    }
    void saw(const std::string&, const Tensor& x, const model::ops::StackRows&) override {
      seen.push_back(x.detach().clone().view({-1, x.size(-1)}));
    }
    std::vector<Tensor> seen;
  } clean, corrupted;
  loss(&clean);
  loss(&corrupted, 0.1);
  const Tensor changed =
      (torch::cat(clean.seen) != torch::cat(corrupted.seen)).any(1).to(torch::kFloat64);
  // 500 draws: three standard deviations.
  EXPECT_NEAR(changed.mean().item<double>(), 0.1, 3 * std::sqrt(0.09 / 500));
  EXPECT_EQ(changed[0].item<double>(), 0) << "the text's beginning stays";
}

}  // namespace
}  // namespace mote::compare
