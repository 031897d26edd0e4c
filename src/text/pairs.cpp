#include "text/pairs.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace mote::text {
namespace {

std::vector<TokenId> sentinels_of(const Tokenizer& tokenizer) {
  std::vector<TokenId> sentinels;
  while (const auto id = tokenizer.find(concat("<extra_id_", sentinels.size(), ">")))
    sentinels.push_back(*id);
  if (sentinels.empty())
    throw Error(
        ErrorKind::unsupported,
        "span corruption needs a tokenizer with <extra_id_0>, <extra_id_1>, ..., and this one "
        "has none; take data.tokenizer = \"unigram\", or the folder of a T5's")
        .at("data.tokenizer");
  return sentinels;
}

// Sizes of `parts` parts of `total`, none of them empty: each way to cut is as likely as any other.
std::vector<std::int64_t> cut_at_random(std::int64_t total, std::int64_t parts, const Rng& rng,
                                        std::uint64_t first_draw) {
  // Which of the total - 1 places between are cuts: parts - 1 of them, drawn without replacement.
  std::vector<std::int64_t> places(static_cast<std::size_t>(total - 1));
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<std::int64_t>(i) + 1;
  const auto cuts = static_cast<std::size_t>(parts - 1);
  for (std::size_t i = 0; i < cuts; ++i)
    std::swap(places[i],
              places[i + static_cast<std::size_t>(rng.below(places.size() - i, first_draw + i))]);
  places.resize(cuts);
  std::sort(places.begin(), places.end());
  places.push_back(total);
  std::vector<std::int64_t> sizes;
  std::int64_t before = 0;
  for (const std::int64_t place : places) sizes.push_back(place - before), before = place;
  return sizes;
}

}  // namespace

SpanCorruption::SpanCorruption(const Tokenizer& tokenizer, const SpanConfig& config, Form form)
    : config_(config),
      form_(form),
      end_(end_token(tokenizer)),
      sentinels_(sentinels_of(tokenizer)) {}

SpanCorruption::Counts SpanCorruption::counts(std::int64_t tokens) const {
  const auto noise = std::clamp<std::int64_t>(
      std::llrint(config_.density * static_cast<double>(tokens)), 1, tokens - 1);
  const std::int64_t spans = std::llrint(static_cast<double>(noise) / config_.mean_length);
  return {noise, std::clamp<std::int64_t>(spans, 1, std::min(noise, tokens - noise))};
}

std::int64_t SpanCorruption::source_length(std::int64_t tokens) const {
  const auto [noise, spans] = counts(tokens);
  return tokens - noise + spans + 1;
}

std::int64_t SpanCorruption::target_length(std::int64_t tokens) const {
  const auto [noise, spans] = counts(tokens);
  return noise + spans + 1;
}

std::int64_t SpanCorruption::most_tokens(std::int64_t source, std::int64_t target) const {
  const auto fits = [&](std::int64_t tokens) {
    return source_length(tokens) <= source && target_length(tokens) <= target;
  };
  if (!fits(2))
    throw Error(ErrorKind::config, concat("a source of ", source, " and a target of ", target,
                                          " tokens (model.encoder.context, model.context) are too "
                                          "short for span corruption; give ",
                                          source_length(2), " and ", target_length(2), " or more"))
        .at("model.context");
  // Both lengths grow with the tokens, but for steps of one where rounding moves a token across.
  std::int64_t tokens = source + target;
  while (!fits(tokens)) --tokens;
  return tokens;
}

Pair SpanCorruption::operator()(std::span<const TokenId> tokens, const Rng& rng) const {
  const auto length = static_cast<std::int64_t>(tokens.size());
  MOTE_CHECK(length >= 2, "span corruption is of two tokens or more");
  const auto [noise, spans] = counts(length);
  const auto wanted = static_cast<std::size_t>(spans) + (form_ == Form::qmoe ? 1 : 0);
  MOTE_CHECK(wanted <= sentinels_.size(), "span corruption of ", length, " tokens needs ", wanted,
             " sentinels, the tokenizer has ", sentinels_.size(),
             "; give shorter pieces, or longer spans");
  const auto cut = cut_at_random(noise, spans, rng, 0),
             kept = cut_at_random(length - noise, spans, rng, static_cast<std::uint64_t>(length));
  Pair pair;
  auto at = tokens.begin();
  for (std::size_t i = 0; i < cut.size(); ++i) {
    pair.source.insert(pair.source.end(), at, at + kept[i]);
    at += kept[i];
    pair.source.push_back(sentinels_[i]);
    pair.target.push_back(sentinels_[i]);
    pair.target.insert(pair.target.end(), at, at + cut[i]);
    at += cut[i];
  }
  pair.source.push_back(end_);
  pair.target.push_back(form_ == Form::qmoe ? sentinels_[cut.size()] : end_);
  return pair;
}

TokenId end_token(const Tokenizer& tokenizer) {
  return tokenizer.roles().end.value_or(tokenizer.end_of_text());
}

TokenId start_token(const Tokenizer& tokenizer) {
  return tokenizer.roles().padding.value_or(end_token(tokenizer));
}

std::int64_t for_each_pair(const Corpus& corpus, const Tokenizer& tokenizer,
                           const PairOptions& options, const std::function<void(Pair)>& use) {
  std::vector<TokenId> ids;
  if (options.task == Task::span_corruption) {
    const SpanCorruption corrupt(tokenizer, options.spans, options.form);
    const auto most =
        static_cast<std::size_t>(corrupt.most_tokens(options.source_tokens, options.target_tokens));
    std::uint64_t piece = 0;
    for (const std::string_view document : corpus.documents()) {
      ids.clear();
      tokenizer.encode(document, ids);
      for (std::span<const TokenId> left = ids; left.size() >= 2; ++piece) {
        const auto tokens = left.first(std::min(most, left.size()));
        left = left.subspan(tokens.size());
        use(corrupt(tokens, Rng(options.seed, Purpose::span_corruption, piece)));
      }
    }
    return 0;
  }
  std::int64_t cut = 0;
  const auto ended = [&](std::string_view text, std::int64_t most) {
    std::vector<TokenId> tokens;
    tokenizer.encode(text, tokens);
    const auto room = static_cast<std::size_t>(most - 1);
    if (tokens.size() > room) tokens.resize(room), ++cut;
    tokens.push_back(end_token(tokenizer));
    return tokens;
  };
  const std::vector<std::string_view>& documents = corpus.documents();
  MOTE_CHECK(documents.size() % 2 == 0, "the text has ", documents.size(),
             " documents, and pairs are two each; give JSON lines with two keys (text key and "
             "target key)");
  for (std::size_t i = 0; i + 1 < documents.size(); i += 2)
    use({ended(documents[i], options.source_tokens),
         ended(documents[i + 1], options.target_tokens)});
  return cut;
}

}  // namespace mote::text
