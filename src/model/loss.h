// The mean loss of a model over documents, the number that training, compression and evaluation all
// report.
#pragma once

#include <functional>
#include <vector>

#include "model/model.h"
#include "text/corpus.h"
#include "text/tokenizer.h"

namespace mote::model {

struct CorpusLoss {
  double nats = 0;  // sum over tokens
  std::int64_t tokens = 0, bytes = 0;

  double mean() const { return tokens ? nats / static_cast<double>(tokens) : 0; }
  double perplexity() const;
  double bits_per_byte() const;
};

// Every document is read from a reset state after one end-of-text token; all its tokens are scored,
// the end of text is not. `step` tokens are taken at a time (any number gives the same to
// rounding); `memory_tokens` < 0: as the model's config says.
struct CorpusLossOptions {
  std::int64_t step = 2048;
  std::int64_t memory_tokens = -1;
  std::function<void(std::int64_t tokens_done)> progress;  // may throw to stop
};
CorpusLoss corpus_loss(const Model& model, const text::Tokenizer& tokenizer,
                       const text::Corpus& corpus, const Pass& pass,
                       const CorpusLossOptions& options = {});

// The same for documents that are tokens already, each starting with the end-of-text token.
CorpusLoss token_loss(const Model& model, const std::vector<std::vector<text::TokenId>>& documents,
                      const Pass& pass, const CorpusLossOptions& options = {});

// One end-of-text token and the document's tokens, per document.
std::vector<std::vector<text::TokenId>> encode_documents(const text::Tokenizer& tokenizer,
                                                         const text::Corpus& corpus);

}  // namespace mote::model
