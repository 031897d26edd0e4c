#include "run/generator.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/counted.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "model/nonfinite.h"
#include "run/beam_search.h"
#include "text/pairs.h"

namespace mote::run {
namespace {

// Passes text on until a stop text is complete; holds back an end that may be the beginning of one.
class StopFilter {
 public:
  StopFilter(const std::vector<std::string>& stops,
             const std::function<void(const std::string&)>& emit)
      : stops_(stops), emit_(emit) {}

  // False once a stop text has come.
  bool push(const std::string& piece) {
    pending_ += piece;
    std::size_t end = std::string::npos;
    for (const std::string& stop : stops_) end = std::min(end, pending_.find(stop));
    if (end != std::string::npos) {
      pass(end);
      pending_.clear();
      return false;
    }
    std::size_t held = 0;
    for (const std::string& stop : stops_)
      for (std::size_t n = std::min(stop.size() - 1, pending_.size()); n > held; --n)
        if (pending_.compare(pending_.size() - n, n, stop, 0, n) == 0) held = n;
    pass(pending_.size() - held);
    return true;
  }
  void finish() { pass(pending_.size()); }
  const std::string& passed() const { return passed_; }

 private:
  void pass(std::size_t count) {
    if (count == 0) return;
    const std::string out = pending_.substr(0, count);
    pending_.erase(0, count);
    passed_ += out;
    if (emit_) emit_(out);
  }
  const std::vector<std::string>& stops_;
  const std::function<void(const std::string&)>& emit_;
  std::string pending_, passed_;
};

Tensor ids_tensor(std::span<const text::TokenId> ids) {
  return torch::tensor(at::ArrayRef<text::TokenId>(ids.data(), ids.size()), torch::kInt64)
      .view({1, -1});
}

bool all_finite(std::span<const float> values) {
  // A sum of zeros, unless one of the factors is infinite or NaN.
  float sum = 0;
  for (const float value : values) sum += value * 0;
  return sum == 0;
}

SamplerConfig sampler_config(const GenerateOptions& options, const model::TextBounds& bounds) {
  SamplerConfig config = options.sampler;
  if (options.ignore_ends)
    for (const text::TokenId id : bounds.ends)
      config.biases.emplace_back(id, -std::numeric_limits<float>::infinity());
  return config;
}

}  // namespace

Session::Session(const model::Model& model, const text::Tokenizer& tokenizer,
                 model::TextBounds bounds, const GenerateOptions& options, const model::Pass& pass)
    : model_(model),
      tokenizer_(tokenizer),
      bounds_(std::move(bounds)),
      options_(options),
      pass_(pass),
      positions_(checkpoint::most_positions(model.config())),
      cache_(model.make_cache(options.memory_tokens)),
      sampler_(sampler_config(options, bounds_)) {
  pass_.buffers = &buffers_;
  if (const std::string why = checkpoint::why_no_generation(model.config()); !why.empty())
    throw Error(ErrorKind::unsupported,
                concat("text cannot be made with it: ", why,
                       "; with select.elsewhere = \"topk\" in its config.json each token gets its "
                       "best experts instead"))
        .at("feed_forward.router.select.elsewhere");
}

Tensor Session::hidden_of(std::span<const text::TokenId> ids) {
  model::ForwardState state(pass_);
  state.cache = &cache_;
  const Tensor hidden = model_.hidden(ids_tensor(ids), state);
  read_.insert(read_.end(), ids.begin(), ids.end());
  return hidden;
}

// Of `ids`, of which what the cache holds is not read again but for the last token.
Tensor Session::read(std::span<const text::TokenId> ids) {
  const bool goes_on =
      read_.size() < ids.size() && std::equal(read_.begin(), read_.end(), ids.begin());
  if (!goes_on) {
    cache_.reset();
    read_.clear();
  }
  Tensor hidden;
  for (std::span<const text::TokenId> left = ids.subspan(read_.size()); !left.empty();) {
    const auto count = std::min(left.size(), static_cast<std::size_t>(options_.prompt_step));
    hidden = hidden_of(left.first(count));
    left = left.subspan(count);
    stop_if_interrupted();
  }
  return model::last_position(hidden);
}

void Session::read_source(std::span<const text::TokenId> ids) {
  const torch::NoGradGuard no_grad;
  const Stopwatch stopwatch;
  cache_.reset();
  read_.clear();
  model::ForwardState state(pass_);
  state.cache = &cache_;
  model_.read_source({ids_tensor(ids), {}}, state);
  source_tokens_ = static_cast<std::int64_t>(ids.size());
  source_seconds_ = stopwatch.seconds();
}

text::StreamDecoder Session::decoder(std::size_t history) const {
  const bool begins = history <= bounds_.before.size();
  return text::StreamDecoder(
      tokenizer_, begins ? text::StreamDecoder::From::start : text::StreamDecoder::From::middle,
      source_tokens_ > 0 ? text::Specials::recognised : text::Specials::as_text);
}

Generated Session::go_on(std::vector<text::TokenId> history,
                         const std::function<void(const std::string&)>& emit) {
  const torch::NoGradGuard no_grad;
  Generated result;
  result.prompt_tokens = static_cast<std::int64_t>(history.size());
  if (history.empty())
    throw Error(
        ErrorKind::usage,
        "-p: the prompt is empty, and texts of this model begin with no token of their own; "
        "give a prompt")
        .at("-p");
  if (result.prompt_tokens > positions_)
    throw Error(
        ErrorKind::usage,
        concat("-p: ", result.prompt_tokens, " tokens with the one that starts a text, the ",
               "model reads at most ", positions_, "; shorten the prompt"))
        .at("-p");
  const std::size_t read_before = read_.size();
  Stopwatch stopwatch;
  const Tensor hidden = read(history);
  result.prompt_seconds = source_seconds_ + stopwatch.seconds();
  result.prompt_read = static_cast<std::int64_t>(
      read_.size() > read_before ? read_.size() - read_before : read_.size());
  if (source_tokens_ > 0) result.prompt_tokens = result.prompt_read = source_tokens_;

  stopwatch.restart();
  if (options_.beams > 1)
    search(hidden, emit, result);
  else
    draw(hidden, std::move(history), emit, result);
  result.new_seconds = stopwatch.seconds();
  stop_if_interrupted();
  return result;
}

void Session::search(const Tensor& hidden, const std::function<void(const std::string&)>& emit,
                     Generated& result) {
  const BeamOptions options{options_.beams, options_.length_penalty, options_.new_tokens,
                            sampler_config(options_, bounds_).biases};
  model::Pass pass = pass_;
  pass.buffers = nullptr;
  const auto ends = [this](text::TokenId id) { return bounds_.ends_text(id); };
  Beam best = options.new_tokens > 0 ? beam_search(model_, hidden, cache_, tokenizer_.vocab_size(),
                                                   ends, options, pass)
                                     : Beam{};
  result.ids = std::move(best.ids);
  result.stop_reason = best.ended ? "end_of_text" : "length";
  // The cache holds several texts now.
  cache_.reset();
  read_.clear();
  text::StreamDecoder text = decoder(bounds_.before.size());
  StopFilter filter(options_.stop, emit);
  bool open = true;
  for (const text::TokenId id : result.ids) open = open && filter.push(text.push(id));
  if (open) open = filter.push(text.finish());
  if (open)
    filter.finish();
  else
    result.stop_reason = "stop";
  result.text = filter.passed();
}

void Session::draw(Tensor hidden, std::vector<text::TokenId> history,
                   const std::function<void(const std::string&)>& emit, Generated& result) {
  text::StreamDecoder decoder = this->decoder(history.size());
  StopFilter filter(options_.stop, emit);
  result.stop_reason = "length";
  const auto vocabulary = static_cast<std::size_t>(tokenizer_.vocab_size());
  Tensor logits = model_.logits(hidden, pass_);
  while (static_cast<std::int64_t>(result.ids.size()) < options_.new_tokens) {
    // Rows of the output layer beyond the tokenizer's ids are no text.
    const std::span<const float> of_tokens(logits.const_data_ptr<float>(), vocabulary);
    if (!all_finite(of_tokens))
      model::throw_nonfinite(
          model_, concat("the logits after ", counted(history.size(), "token"), " are not finite"));
    const text::TokenId id = sampler_.next(of_tokens, history);
    if (bounds_.ends_text(id)) {
      result.stop_reason = "end_of_text";
      break;
    }
    result.ids.push_back(id);
    history.push_back(id);
    if (!filter.push(decoder.push(id))) {
      result.stop_reason = "stop";
      break;
    }
    if (interrupted() || static_cast<std::int64_t>(result.ids.size()) == options_.new_tokens) break;
    if (cache_.position() == positions_) {
      result.stop_reason = "context";
      break;
    }
    logits = model_.logits(hidden_of({&id, 1}), pass_);
  }
  if (result.stop_reason != "stop") {
    if (!filter.push(decoder.finish())) result.stop_reason = "stop";
    filter.finish();
  }
  result.text = filter.passed();
}

Generated generate(const model::Model& model, const text::Tokenizer& tokenizer,
                   const model::TextBounds& bounds, const std::string& prompt,
                   const GenerateOptions& options, const model::Pass& pass,
                   const std::function<void(const std::string&)>& emit) {
  Session session(model, tokenizer, bounds, options, pass);
  std::vector<text::TokenId> ids = bounds.before;
  if (!checkpoint::reads_source(model.config())) {
    tokenizer.encode(prompt, ids);
    return session.go_on(std::move(ids), emit);
  }
  std::vector<text::TokenId> source;
  tokenizer.encode(prompt, source, text::Specials::recognised);
  if (source.empty())
    throw Error(ErrorKind::usage, "-p: the prompt is empty; of an encoder-decoder it is the source")
        .at("-p");
  source.insert(source.end(), bounds.after_source.begin(), bounds.after_source.end());
  session.read_source(source);
  if (ids.empty()) ids = {text::start_token(tokenizer)};
  return session.go_on(std::move(ids), emit);
}

}  // namespace mote::run
