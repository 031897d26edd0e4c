// What encoder-decoders read and write: a source, and the target that follows from it.
//
// Span corruption (T5, arXiv 1910.10683, section 3.1.4; specs/checkpoints 2.4). Of L tokens
//   noise = round(density L), at least 1 and at most L - 1; spans = round(noise / mean), at least 1 and no
//   more than noise or what is kept
// are cut out, in so many spans at random, each way of cutting as likely as any other, what comes first is
// kept. In the source a span is one sentinel, the target is the sentinels, each with its span behind it:
//   source   kept_1 <extra_id_0> kept_2 <extra_id_1> ... end
//   target   <extra_id_0> span_1 <extra_id_1> span_2 ... end
// QMoE's form (specs/qmoe 2.4) has one sentinel more in the end's place of the target.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/fields.h"
#include "base/rng.h"
#include "text/corpus.h"
#include "text/tokenizer.h"

namespace mote::text {

// What a model learns from text: to go on with it, to fill gaps, or to write targets.
enum class Task { text, span_corruption, pairs };

struct Pair {
  std::vector<TokenId> source, target;
};

struct SpanConfig {
  double density = 0.15;
  double mean_length = 3;

  static auto fields() {
    using C = SpanConfig;
    return std::tuple{
        Field{&C::density, "density", "share of the tokens that is cut out", 0.0, 1.0},
        Field{&C::mean_length, "mean_length", "tokens of a span, in the mean", 1.0, 1e4}};
  }
};

class SpanCorruption {
 public:
  enum class Form { t5, qmoe };
  // Throws where the tokenizer has no sentinels <extra_id_0>, <extra_id_1>, ...
  SpanCorruption(const Tokenizer& tokenizer, const SpanConfig& config, Form form = Form::t5);

  // Of at least two tokens. Throws where there are not enough sentinels.
  Pair operator()(std::span<const TokenId> tokens, const Rng& rng) const;
  // The most tokens of which source and target have at most so many; throws where these are too few for
  // any.
  std::int64_t most_tokens(std::int64_t source, std::int64_t target) const;
  // Of so many tokens.
  std::int64_t source_length(std::int64_t tokens) const;
  std::int64_t target_length(std::int64_t tokens) const;

 private:
  struct Counts {
    std::int64_t noise, spans;
  };
  Counts counts(std::int64_t tokens) const;

  const SpanConfig config_;
  const Form form_;
  const TokenId end_;
  std::vector<TokenId> sentinels_;
};

// What a tokenizer ends a text with, and what a target begins with: its padding (T5), else the end.
TokenId end_token(const Tokenizer& tokenizer);
TokenId start_token(const Tokenizer& tokenizer);

struct PairOptions {
  Task task = Task::span_corruption;
  SpanConfig spans;
  SpanCorruption::Form form = SpanCorruption::Form::t5;
  std::int64_t source_tokens = 512, target_tokens = 114;  // the most of a pair
  std::uint64_t seed = 1;                                 // of spans
};

// The pairs of a corpus in its order. Span corruption: of consecutive pieces of its documents, the last
// of each shorter, but for single tokens. Pairs: documents are sources and targets in turn
// (TextFormat::target_key); each ends with the end token, and of one that is too long the rest is left out;
// gives how many were.
std::int64_t for_each_pair(const Corpus& corpus, const Tokenizer& tokenizer,
                           const PairOptions& options, const std::function<void(Pair)>& use);

}  // namespace mote::text

template <>
struct mote::EnumNames<mote::text::Task> {
  static constexpr std::array names{"text", "span_corruption", "pairs"};
};
