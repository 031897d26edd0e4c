#include "text/pair_batches.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/counted.h"
#include "base/log.h"

namespace mote::text {
namespace {

void check_streams(std::int64_t streams) {
  MOTE_CHECK(streams >= 1, "batches need at least one stream: ", streams, " were asked for");
}

}  // namespace

Batch batch_of(const std::vector<Pair>& pairs, TokenId start) {
  std::size_t source = 0, target = 0;
  for (const Pair& pair : pairs)
    source = std::max(source, pair.source.size()), target = std::max(target, pair.target.size());
  Batch batch;
  bool padded = false;
  for (const Pair& pair : pairs) {
    batch.source.insert(batch.source.end(), pair.source.begin(), pair.source.end());
    batch.source.resize(batch.source.size() + source - pair.source.size(), start);
    batch.source_lengths.push_back(static_cast<std::int32_t>(pair.source.size()));
    padded = padded || pair.source.size() < source;
    batch.ids.push_back(start);
    batch.ids.insert(batch.ids.end(), pair.target.begin(), pair.target.end() - 1);
    batch.ids.resize(batch.ids.size() + target - pair.target.size(), start);
    batch.targets.insert(batch.targets.end(), pair.target.begin(), pair.target.end());
    batch.targets.resize(batch.targets.size() + target - pair.target.size(), kNoTarget);
  }
  if (!padded) batch.source_lengths.clear();
  return batch;
}

SpanBatches::SpanBatches(std::shared_ptr<const TokenFile> tokens, const Tokenizer& tokenizer,
                         std::int64_t streams, const PairOptions& options)
    : tokens_(std::move(tokens)),
      streams_(streams),
      options_(options),
      start_(start_token(tokenizer)),
      corrupt_(tokenizer, options.spans, options.form),
      window_(corrupt_.most_tokens(options.source_tokens, options.target_tokens)) {
  check_streams(streams);
  const auto windows = static_cast<std::int64_t>(tokens_->size()) / window_;
  windows_per_stream_ = windows / streams;
  MOTE_CHECK(windows_per_stream_ >= 1, "the text has ", tokens_->size(), " tokens, ", windows,
             " windows of ", window_, ", and ", streams,
             " streams need one each; use more text, fewer streams or a shorter context");
}

std::int64_t SpanBatches::tokens_per_step() const {
  return streams_ * (corrupt_.source_length(window_) + corrupt_.target_length(window_));
}

Batch SpanBatches::at(std::int64_t step) const {
  MOTE_CHECK(step >= 0, "there is no batch ", step, "; steps count from 0");
  const std::int64_t window = step % windows_per_stream_;
  std::vector<Pair> pairs;
  std::vector<TokenId> tokens(static_cast<std::size_t>(window_));
  for (std::int64_t stream = 0; stream < streams_; ++stream) {
    const std::int64_t begin = (stream * windows_per_stream_ + window) * window_;
    for (std::int64_t t = 0; t < window_; ++t)
      tokens[static_cast<std::size_t>(t)] = (*tokens_)[static_cast<std::uint64_t>(begin + t)];
    const auto draw = static_cast<std::uint64_t>(step * streams_ + stream);
    pairs.push_back(corrupt_(tokens, Rng(options_.seed, Purpose::span_corruption, draw)));
  }
  Batch batch = batch_of(pairs, start_);
  batch.starts_epoch = window == 0;
  return batch;
}

PairBatches::PairBatches(std::shared_ptr<const TokenFile> tokens, const Tokenizer& tokenizer,
                         std::int64_t streams, const PairOptions& options)
    : tokens_(std::move(tokens)),
      streams_(streams),
      options_(options),
      start_(start_token(tokenizer)),
      end_(end_token(tokenizer)) {
  check_streams(streams);
  std::vector<Range> documents;
  for (std::uint64_t i = 0; i < tokens_->size(); ++i)
    if ((*tokens_)[i] == tokenizer.end_of_text()) {
      if (!documents.empty()) documents.back().end = i;
      documents.push_back({i + 1, tokens_->size()});
    }
  MOTE_CHECK(documents.size() % 2 == 0, "the prepared text has ", documents.size(),
             " documents, and pairs are two each; prepare JSON lines with two keys "
             "(data.text_key, data.target_key)");
  std::size_t cut = 0;
  std::int64_t total = 0;
  const auto takes = [&](const Range& r, std::int64_t most, bool& is_long) {
    const auto length = static_cast<std::int64_t>(r.end - r.first) + 1;
    is_long = is_long || length > most;
    total += std::min(length, most);
  };
  for (std::size_t i = 0; i < documents.size(); i += 2) {
    pairs_.push_back({documents[i], documents[i + 1]});
    bool is_long = false;
    takes(documents[i], options_.source_tokens, is_long);
    takes(documents[i + 1], options_.target_tokens, is_long);
    cut += is_long;
  }
  MOTE_CHECK(static_cast<std::int64_t>(pairs_.size()) >= streams, "the text has ",
             counted(pairs_.size(), "pair"), " and a batch ", streams,
             "; give more, or fewer streams");
  tokens_per_step_ = total * streams / static_cast<std::int64_t>(pairs_.size());
  if (cut > 0)
    log::warn(concat(cut, " of ", counted(pairs_.size(), "pair"), " are cut: a source has at most ",
                     options_.source_tokens, " tokens (model.encoder.context), a target ",
                     options_.target_tokens, " (model.context)"));
}

std::vector<TokenId> PairBatches::ended(const Range& range, std::int64_t most) const {
  std::vector<TokenId> tokens;
  const std::uint64_t end = std::min(range.end, range.first + static_cast<std::uint64_t>(most - 1));
  for (std::uint64_t i = range.first; i < end; ++i) tokens.push_back((*tokens_)[i]);
  tokens.push_back(end_);
  return tokens;
}

const std::vector<std::size_t>& PairBatches::order_of(std::uint64_t epoch) const {
  if (!order_.empty() && order_epoch_ == epoch) return order_;
  order_.resize(pairs_.size());
  order_epoch_ = epoch;
  std::iota(order_.begin(), order_.end(), 0);
  const Rng rng(options_.seed, Purpose::pair_order, epoch);
  for (std::size_t i = 0; i + 1 < order_.size(); ++i)
    std::swap(order_[i], order_[i + static_cast<std::size_t>(rng.below(order_.size() - i, i))]);
  return order_;
}

Batch PairBatches::at(std::int64_t step) const {
  MOTE_CHECK(step >= 0, "there is no batch ", step, "; steps count from 0");
  const std::int64_t within = step % steps_per_epoch();
  const auto& order = order_of(static_cast<std::uint64_t>(step / steps_per_epoch()));
  std::vector<Pair> pairs;
  for (std::int64_t b = 0; b < streams_; ++b) {
    const Ranges& pair = pairs_[order[static_cast<std::size_t>(within * streams_ + b)]];
    pairs.push_back(
        {ended(pair.source, options_.source_tokens), ended(pair.target, options_.target_tokens)});
  }
  Batch batch = batch_of(pairs, start_);
  batch.starts_epoch = within == 0;
  return batch;
}

std::unique_ptr<Batches> make_pair_batches(std::shared_ptr<const TokenFile> tokens,
                                           const Tokenizer& tokenizer, std::int64_t streams,
                                           const PairOptions& options) {
  if (options.task == Task::span_corruption)
    return std::make_unique<SpanBatches>(std::move(tokens), tokenizer, streams, options);
  return std::make_unique<PairBatches>(std::move(tokens), tokenizer, streams, options);
}

}  // namespace mote::text
