// The mean loss of a model over documents, the number that training, compression and evaluation all
// report.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "model/model.h"
#include "text/pair_batches.h"
#include "text/tokenizer.h"

namespace mote::model {

struct CorpusLoss {
  double nats = 0;  // sum over tokens
  std::int64_t tokens = 0, bytes = 0;

  double mean() const { return tokens ? nats / static_cast<double>(tokens) : 0; }
  double perplexity() const;
  double bits_per_byte() const;
};

// Every document is read from a reset state after what begins a text; every token after the first is
// scored. `step` tokens are taken at a time (any number gives the same to
// rounding); `memory_tokens` < 0: as the model's config says. A loss that is not finite is a
// numeric error. Of the text no more is held as tokens than a step and a part of a document.
struct CorpusLossOptions {
  std::int64_t step = 2048;
  std::int64_t memory_tokens = -1;
  // Of models in which a token sees all before it, the most tokens that are read together; 0: the
  // config's context. Longer documents are read in windows that overlap by half: every token sees at
  // least half a window, or all before it.
  std::int64_t window = 0;
  // What a text begins with; unset: the tokenizer's end of text.
  std::optional<std::vector<text::TokenId>> before;
  // Share of the tokens read, the end of text aside, that are replaced by others, drawn with the
  // pass's seed; what is to be predicted stays.
  double corrupted = 0;
  std::function<void(std::int64_t bytes_read)> progress;  // may throw to stop
};
CorpusLoss corpus_loss(const Model& model, const text::Tokenizer& tokenizer,
                       const text::Corpus& corpus, const Pass& pass,
                       const CorpusLossOptions& options = {});

// The test protocol of Transformer-XL's language models (specs/sparse-ffn 3.1): documents one after another
// as in training, cut into windows of the model's context that `streams` streams read side by side, each
// from what it has read before (memory_tokens < 0: as the config's eval_memory_blocks says). What does not
// fill a window of every stream is not scored. Throws where the text is shorter than that, or the model
// is of another kind.
CorpusLoss streams_loss(const Model& model, const text::Tokenizer& tokenizer,
                        const text::Corpus& corpus, std::int64_t streams,
                        std::int64_t memory_tokens, const Pass& pass,
                        const std::function<void(std::int64_t bytes_read)>& progress = {});

// Pairs as long as the encoder and the decoder of such a model were made for.
text::PairOptions pair_options(const ModelConfig& config, text::Task task,
                               const text::SpanConfig& spans = {});

// Of the targets of an encoder-decoder's pairs, their ends included; bytes are 0. `progress` gets how many
// of them were scored, and may throw to stop.
CorpusLoss pairs_loss(const Model& model, const text::Tokenizer& tokenizer,
                      const text::Corpus& corpus, const text::PairOptions& options,
                      const Pass& pass, const std::function<void(std::int64_t)>& progress = {});

// A batch of `streams` sequences.
TrainingBatch tensors_of(const text::Batch& batch, std::int64_t streams);

}  // namespace mote::model
