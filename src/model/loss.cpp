#include "model/loss.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace mote::model {

double CorpusLoss::perplexity() const {
  return std::exp(mean());
}

double CorpusLoss::bits_per_byte() const {
  return bytes ? nats / static_cast<double>(bytes) / std::numbers::ln2 : 0;
}

std::vector<std::vector<text::TokenId>> encode_documents(const text::Tokenizer& tokenizer,
                                                         const text::Corpus& corpus) {
  std::vector<std::vector<text::TokenId>> documents;
  for (const std::string_view text : corpus.documents()) {
    documents.push_back({tokenizer.end_of_text()});
    tokenizer.encode(text, documents.back());
  }
  return documents;
}

CorpusLoss token_loss(const Model& model, const std::vector<std::vector<text::TokenId>>& documents,
                      const Pass& pass, const CorpusLossOptions& options) {
  const torch::NoGradGuard no_grad;
  // Learned positions come to an end: longer documents are read in pieces that each start afresh.
  const std::int64_t positions = checkpoint::most_positions(model.config());
  const bool endless = positions == std::numeric_limits<std::int64_t>::max();
  const std::int64_t step = endless ? options.step : positions;
  CorpusLoss loss;
  Cache cache = model.make_cache(options.memory_tokens);
  for (const auto& document : documents) {
    cache.reset();
    const Tensor ids =
        torch::from_blob(const_cast<text::TokenId*>(document.data()),
                         {1, static_cast<std::int64_t>(document.size())}, torch::kInt32)
            .to(torch::kInt64);
    for (std::int64_t first = 0; first + 1 < ids.size(1); first += step) {
      const std::int64_t count = std::min(step, ids.size(1) - 1 - first);
      if (!endless) cache.reset();
      ForwardState state(pass);
      state.cache = &cache;
      const Tensor hidden = model.hidden(ids.narrow(1, first, count), state);
      loss.nats += model.token_losses(hidden, ids.narrow(1, first + 1, count), pass)
                       .sum(torch::kFloat64)
                       .item<double>();
      loss.tokens += count;
      if (options.progress) options.progress(loss.tokens);
    }
  }
  return loss;
}

CorpusLoss corpus_loss(const Model& model, const text::Tokenizer& tokenizer,
                       const text::Corpus& corpus, const Pass& pass,
                       const CorpusLossOptions& options) {
  CorpusLoss loss = token_loss(model, encode_documents(tokenizer, corpus), pass, options);
  loss.bytes = static_cast<std::int64_t>(corpus.bytes());
  return loss;
}

}  // namespace mote::model
