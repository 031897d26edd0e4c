// Batches of pairs (text/pairs.h), cut from a prepared folder. A batch depends on its number alone.
#pragma once

#include "text/batches.h"
#include "text/pairs.h"

namespace mote::text {

// Sources padded behind, targets after the token that starts them.
Batch batch_of(const std::vector<Pair>& pairs, TokenId start);

// Windows of as many tokens as the lengths allow, one after the other through the text, documents and the
// tokens between them as they come: stream b reads the windows b W, ..., b W + W - 1, and where W are
// read a new epoch starts, with other spans. All sources are of one length, and all targets.
class SpanBatches final : public Batches {
 public:
  SpanBatches(std::shared_ptr<const TokenFile> tokens, const Tokenizer& tokenizer,
              std::int64_t streams, const PairOptions& options);
  Batch at(std::int64_t step) const override;
  std::int64_t steps_per_epoch() const override { return windows_per_stream_; }
  std::int64_t tokens_per_step() const override;

 private:
  const std::shared_ptr<const TokenFile> tokens_;
  const std::int64_t streams_;
  const PairOptions options_;
  const TokenId start_;
  const SpanCorruption corrupt_;
  const std::int64_t window_;
  std::int64_t windows_per_stream_ = 0;
};

// Documents that are sources and targets in turn, in an order drawn anew for every epoch; what does not
// fill a batch is left for the next one. Warns of how many are longer than the options allow, and cut. One
// thread at a time may ask.
class PairBatches final : public Batches {
 public:
  PairBatches(std::shared_ptr<const TokenFile> tokens, const Tokenizer& tokenizer,
              std::int64_t streams, const PairOptions& options);
  Batch at(std::int64_t step) const override;
  std::int64_t steps_per_epoch() const override {
    return static_cast<std::int64_t>(pairs_.size()) / streams_;
  }
  std::int64_t tokens_per_step() const override { return tokens_per_step_; }

 private:
  struct Range {
    std::uint64_t first = 0, end = 0;
  };
  struct Ranges {
    Range source, target;
  };
  std::vector<TokenId> ended(const Range& range, std::int64_t most) const;
  const std::vector<std::size_t>& order_of(std::uint64_t epoch) const;

  const std::shared_ptr<const TokenFile> tokens_;
  const std::int64_t streams_;
  const PairOptions options_;
  const TokenId start_, end_;
  std::int64_t tokens_per_step_ = 0;
  std::vector<Ranges> pairs_;
  // Of the epoch that was asked for last; empty: none was.
  mutable std::vector<std::size_t> order_;
  mutable std::uint64_t order_epoch_ = 0;
};

// Of the task, which is not text. `tokenizer`: the folder's.
std::unique_ptr<Batches> make_pair_batches(std::shared_ptr<const TokenFile> tokens,
                                           const Tokenizer& tokenizer, std::int64_t streams,
                                           const PairOptions& options);

}  // namespace mote::text
