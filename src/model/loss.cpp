#include "model/loss.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"
#include "base/counted.h"
#include "base/log.h"
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
        before_(options.before.value_or(std::vector<text::TokenId>{tokenizer.end_of_text()})),
        cache_(model.make_cache(options.memory_tokens)) {
    // Learned positions come to an end: longer documents are read in pieces that each start afresh.
    const std::int64_t positions = checkpoint::most_positions(model.config());
    endless_ = positions == std::numeric_limits<std::int64_t>::max();
    step_ = endless_ ? options.step : positions;
    if (!endless_ || !checkpoint::sees_everything(model.config())) return;
    window_ = options.window > 0 ? options.window : model.config().context;
    step_ = std::min(step_, std::max<std::int64_t>(1, window_ - overlap()));
  }

  void begin() {
    cache_.reset();
    tokens_ = before_;
    read_ = 0;
  }
  // More of the document.
  void add(std::string_view part) {
    tokenizer_.encode(part, tokens_);
    loss_.bytes += static_cast<std::int64_t>(part.size());
    while (read_ + step_ < size()) score(step_);
    // What a window that begins later reads again stays.
    const std::int64_t gone = std::max<std::int64_t>(0, read_ - overlap());
    tokens_.erase(tokens_.begin(), tokens_.begin() + gone);
    read_ -= gone;
  }
  void end() {
    if (size() > read_ + 1) score(size() - 1 - read_);
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
  std::int64_t overlap() const { return window_ / 2; }
  Tensor hidden(const Tensor& ids_1T) {
    ForwardState state(pass_);
    state.caches = {&cache_};
    return model_.hidden(ids_1T, state);
  }
  // The next `count` tokens, each with the one behind it as its target.
  void score(std::int64_t count) {
    if (!endless_) cache_.reset();
    if (window_ > 0 && cache_.position() + count > window_) {
      cache_.reset();
      const std::int64_t again = std::min(read_, overlap());
      if (again > 0) hidden(ids(read_ - again, again));
    }
    Tensor read = ids(read_, count);
    if (corrupted_ > 0) corrupt(read);
    const auto nats = model_.token_losses(hidden(read), ids(read_ + 1, count), pass_)
                          .sum(torch::kFloat64)
                          .item<double>();
    if (!std::isfinite(nats))
      throw_nonfinite(model_, concat("the loss of tokens ", loss_.tokens, " to ",
                                     loss_.tokens + count - 1, " is ", nats));
    loss_.nats += nats;
    loss_.tokens += count;
    read_ += count;
    if (progress_) progress_(loss_.bytes);
  }

  const Model& model_;
  const text::Tokenizer& tokenizer_;
  const Pass& pass_;
  const double corrupted_;
  const std::function<void(std::int64_t)>& progress_;
  const std::vector<text::TokenId> before_;
  Cache cache_;
  bool endless_ = true;
  std::int64_t step_ = 0, window_ = 0;
  std::vector<text::TokenId> tokens_;  // of which the first `read_` were read
  std::int64_t read_ = 0;
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

CorpusLoss streams_loss(const Model& model, const text::Tokenizer& tokenizer,
                        const text::Corpus& corpus, std::int64_t streams,
                        std::int64_t memory_tokens, const Pass& pass,
                        const std::function<void(std::int64_t)>& progress) {
  if (!model.config().attention.get_if<checkpoint::TransformerXl>())
    throw Error(ErrorKind::usage,
                "--streams: reading on from window to window is for models with attention of kind "
                "\"transformer_xl\", and this one has another; leave the flag out")
        .at("--streams");
  const torch::NoGradGuard no_grad;
  const text::BatchStream batches(std::make_shared<text::TokenList>(corpus, tokenizer), streams,
                                  model.config().context);
  Cache cache = model.make_cache(memory_tokens);
  CorpusLoss total;
  for (std::int64_t step = 0; step < batches.steps_per_epoch(); ++step) {
    const text::Batch batch = batches.at(step);
    const auto [ids_BT, targets_BT, source] = tensors_of(batch, streams);
    ForwardState state(pass);
    state.caches = {&cache};
    const auto nats = model.token_losses(model.hidden(ids_BT, state), targets_BT, pass)
                          .sum(torch::kFloat64)
                          .item<double>();
    if (!std::isfinite(nats))
      throw_nonfinite(model,
                      concat("the loss of window ", step, " of ", streams, " streams is ", nats));
    total.nats += nats;
    total.tokens += ids_BT.numel();
    for (const text::TokenId id : batch.targets)
      total.bytes += static_cast<std::int64_t>(tokenizer.bytes(id).size());
    if (progress) progress(total.bytes);
  }
  return total;
}

TrainingBatch tensors_of(const text::Batch& batch, std::int64_t streams) {
  const auto tensor = [&](const auto& values, torch::ScalarType type) {
    return torch::tensor(at::makeArrayRef(values), type).view({streams, -1});
  };
  TrainingBatch tensors{tensor(batch.ids, torch::kInt64), tensor(batch.targets, torch::kInt64)};
  if (batch.source.empty()) return tensors;
  tensors.source.ids_BS = tensor(batch.source, torch::kInt64);
  if (!batch.source_lengths.empty())
    tensors.source.lengths_B = tensor(batch.source_lengths, torch::kInt32).flatten();
  return tensors;
}

text::PairOptions pair_options(const ModelConfig& config, text::Task task,
                               const text::SpanConfig& spans) {
  text::PairOptions options;
  options.task = task;
  options.spans = spans;
  options.source_tokens = config.encoder.context;
  options.target_tokens = config.context;
  return options;
}

CorpusLoss pairs_loss(const Model& model, const text::Tokenizer& tokenizer,
                      const text::Corpus& corpus, const text::PairOptions& options,
                      const Pass& pass, const std::function<void(std::int64_t)>& progress) {
  constexpr std::size_t kAtOnce = 8;
  const torch::NoGradGuard no_grad;
  const text::TokenId start = text::start_token(tokenizer);
  CorpusLoss total;
  std::vector<text::Pair> pairs;
  const auto score = [&] {
    if (pairs.empty()) return;
    const TrainingBatch batch =
        tensors_of(text::batch_of(pairs, start), static_cast<std::int64_t>(pairs.size()));
    ForwardState state(pass);
    model.read_source(batch.source, state);
    const auto nats = model.token_losses(model.hidden(batch.ids_BT, state), batch.targets_BT, pass)
                          .sum(torch::kFloat64)
                          .item<double>();
    const std::int64_t targets = (batch.targets_BT >= 0).sum().item<std::int64_t>();
    if (!std::isfinite(nats))
      throw_nonfinite(model, concat("the loss of target tokens ", total.tokens, " to ",
                                    total.tokens + targets - 1, " is ", nats));
    total.nats += nats, total.tokens += targets;
    pairs.clear();
    if (progress) progress(total.tokens);
  };
  const std::int64_t cut = text::for_each_pair(corpus, tokenizer, options, [&](text::Pair pair) {
    pairs.push_back(std::move(pair));
    if (pairs.size() == kAtOnce) score();
  });
  score();
  if (cut > 0)
    log::warn(concat(counted(cut, "text"), " of pairs were cut to the ", options.source_tokens,
                     " tokens of a source and ", options.target_tokens, " of a target"));
  if (total.tokens == 0)
    throw Error(ErrorKind::file,
                concat("the corpus has ", corpus.documents().size(),
                       " documents and no pair of a source and a target; give more text"));
  return total;
}

}  // namespace mote::model
