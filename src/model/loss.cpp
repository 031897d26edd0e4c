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
  Scorer(const Model& model, const text::Tokenizer& tokenizer, const Pass& pass,
         const CorpusLossOptions& options)
      : model_(model),
        tokenizer_(tokenizer),
        pass_(pass),
        corrupted_(options.corrupted),
        progress_(options.progress),
        cache_(model.make_cache(options.memory_tokens)) {
    // Learned positions come to an end: longer documents are read in pieces that each start afresh.
    const std::int64_t positions = checkpoint::most_positions(model.config());
    endless_ = positions == std::numeric_limits<std::int64_t>::max();
    step_ = endless_ ? options.step : positions;
  }

  void begin() {
    cache_.reset();
    tokens_ = tokenizer_.start();
  }
  // More of the document.
  void add(std::string_view part) {
    tokenizer_.encode(part, tokens_);
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
  void corrupt(Tensor& ids_1T) const {
    const Rng rng(pass_.seed, Purpose::corruption);
    auto* id = ids_1T.mutable_data_ptr<std::int64_t>();
    const auto vocabulary = static_cast<std::uint64_t>(tokenizer_.vocab_size());
    for (std::int64_t t = 0; t < ids_1T.numel(); ++t) {
      const auto token = static_cast<std::uint64_t>(loss_.tokens + t);
      if (id[t] != tokenizer_.end_of_text() && rng.uniform(2 * token) < corrupted_)
        id[t] = static_cast<std::int64_t>(rng.below(vocabulary, 2 * token + 1));
    }
  }
  // `count` tokens from `first` on, each with the one behind it as its target.
  void score(std::int64_t first, std::int64_t count) {
    if (!endless_) cache_.reset();
    ForwardState state(pass_);
    state.cache = &cache_;
    Tensor read = ids(first, count);
    if (corrupted_ > 0) corrupt(read);
    const Tensor hidden = model_.hidden(read, state);
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
  const text::Tokenizer& tokenizer_;
  const Pass& pass_;
  const double corrupted_;
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
  Scorer scorer(model, tokenizer, pass, options);
  for (const std::string_view document : corpus.documents()) {
    scorer.begin();
    for (const std::string_view part : tokenizer.parts(document, kPartBytes)) scorer.add(part);
    scorer.end();
  }
  return scorer.loss();
}

}  // namespace mote::model
