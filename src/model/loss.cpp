#include "model/loss.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"
#include "model/nonfinite.h"

namespace mote::model {

double CorpusLoss::perplexity() const {
  return std::exp(mean());
}

double CorpusLoss::bits_per_byte() const {
  return bytes ? nats / static_cast<double>(bytes) / std::numbers::ln2 : 0;
}

namespace {

// Scores documents, a step whenever there are tokens for one.
class Scorer {
 public:
  Scorer(const Model& model, const Pass& pass, const CorpusLossOptions& options)
      : model_(model),
        pass_(pass),
        progress_(options.progress),
        cache_(model.make_cache(options.memory_tokens)) {
    // Learned positions come to an end: longer documents are read in pieces that each start afresh.
    const std::int64_t positions = checkpoint::most_positions(model.config());
    endless_ = positions == std::numeric_limits<std::int64_t>::max();
    step_ = endless_ ? options.step : positions;
  }

  void begin(text::TokenId end_of_text) {
    cache_.reset();
    tokens_ = {end_of_text};
  }
  // More of the document.
  void add(const text::Tokenizer& tokenizer, std::string_view part) {
    tokenizer.encode(part, tokens_);
    loss_.bytes += static_cast<std::int64_t>(part.size());
    std::int64_t first = 0;
    for (; first + step_ < size(); first += step_) score(first, step_);
    tokens_.erase(tokens_.begin(), tokens_.begin() + first);
  }
  void end() {
    if (size() > 1) score(0, size() - 1);
  }
  const CorpusLoss& loss() const { return loss_; }

 private:
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  Tensor ids(std::int64_t first, std::int64_t count) {
    return torch::from_blob(tokens_.data() + first, {1, count}, torch::kInt32).to(torch::kInt64);
  }
  // `count` tokens from `first` on, each with the one behind it as its target.
  void score(std::int64_t first, std::int64_t count) {
    if (!endless_) cache_.reset();
    ForwardState state(pass_);
    state.cache = &cache_;
    const Tensor hidden = model_.hidden(ids(first, count), state);
    const auto nats = model_.token_losses(hidden, ids(first + 1, count), pass_)
                          .sum(torch::kFloat64)
                          .item<double>();
    if (!std::isfinite(nats))
      throw_nonfinite(model_, concat("the loss of tokens ", loss_.tokens, " to ",
                                     loss_.tokens + count - 1, " is ", nats));
    loss_.nats += nats;
    loss_.tokens += count;
    if (progress_) progress_(loss_.bytes);
  }

  const Model& model_;
  const Pass& pass_;
  const std::function<void(std::int64_t)>& progress_;
  Cache cache_;
  bool endless_ = true;
  std::int64_t step_ = 0;
  std::vector<text::TokenId> tokens_;
  CorpusLoss loss_;
};

}  // namespace

CorpusLoss corpus_loss(const Model& model, const text::Tokenizer& tokenizer,
                       const text::Corpus& corpus, const Pass& pass,
                       const CorpusLossOptions& options) {
  constexpr std::size_t kPartBytes = 1 << 16;
  const torch::NoGradGuard no_grad;
  Scorer scorer(model, pass, options);
  for (const std::string_view document : corpus.documents()) {
    scorer.begin(tokenizer.end_of_text());
    for (const std::string_view part : tokenizer.parts(document, kPartBytes))
      scorer.add(tokenizer, part);
    scorer.end();
  }
  return scorer.loss();
}

}  // namespace mote::model
