#include "run/generator.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/counted.h"
#include "base/log.h"
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
  StopFilter(const std::vector<std::string>& stops, std::function<void(const std::string&)> emit)
      : stops_(stops), emit_(std::move(emit)) {}

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
  const std::function<void(const std::string&)> emit_;
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

std::int64_t prompt_step(const GenerateOptions& options, const checkpoint::ModelConfig& config) {
  if (options.prompt_step > 0) return options.prompt_step;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const auto feed_forward = checkpoint::layer_config(config, i).feed_forward;
    if (!feed_forward.get_if<checkpoint::Dense>() && !feed_forward.get_if<checkpoint::TopK>())
      return 512;
  }
  return 64;
}

// A text between begin() and finish().
struct Session::Growing {
  std::vector<text::TokenId> history;
  text::StreamDecoder decoder;
  StopFilter filter;
  Generated result = {};
  bool open = false;
  Stopwatch stopwatch = {};
};

Session::Session(const model::Model& model, const text::Tokenizer& tokenizer,
                 model::TextBounds bounds, const GenerateOptions& options, const model::Pass& pass)
    : model_(model),
      tokenizer_(tokenizer),
      bounds_(std::move(bounds)),
      options_(options),
      prompt_step_(prompt_step(options, model.config())),
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

Session::~Session() = default;

Tensor Session::hidden_of(std::span<const text::TokenId> ids) {
  model::ForwardState state(pass_);
  state.caches = {&cache_};
  const Tensor hidden = model_.hidden(ids_tensor(ids), state);
  read_.insert(read_.end(), ids.begin(), ids.end());
  return hidden;
}

// Says so where a text that has grown to so many tokens has left the positions that were trained.
void Session::warn_beyond_context(std::size_t tokens) {
  const auto context = static_cast<std::size_t>(model_.config().context);
  if (warned_ || tokens <= context || !checkpoint::sees_everything(model_.config())) return;
  warned_ = true;
  log::warn(concat("the text has more than the ", context,
                   " tokens that the model was made for; what lies beyond is often worse"));
}

// Of `ids`, of which what the cache holds is not read again but for the last token.
Tensor Session::read(std::span<const text::TokenId> ids) {
  const bool goes_on =
      read_.size() < ids.size() && std::equal(read_.begin(), read_.end(), ids.begin());
  if (!goes_on) {
    cache_.reset();
    read_.clear();
  }
  warn_beyond_context(ids.size());
  cache_.expect(std::min(positions_, static_cast<std::int64_t>(ids.size()) + options_.new_tokens));
  Tensor hidden;
  std::span<const text::TokenId> left = ids.subspan(read_.size());
  log::Progress progress("reading the prompt", static_cast<std::int64_t>(left.size()), "tokens");
  for (std::int64_t done = 0; !left.empty(); progress.update(done)) {
    const auto count = std::min(left.size(), static_cast<std::size_t>(prompt_step_));
    hidden = hidden_of(left.first(count));
    left = left.subspan(count);
    done += static_cast<std::int64_t>(count);
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
  state.caches = {&cache_};
  model_.read_source({ids_tensor(ids), {}}, state);
  source_tokens_ = static_cast<std::int64_t>(ids.size());
  source_seconds_ = stopwatch.seconds();
}

text::StreamDecoder Session::decoder(std::size_t history) const {
  // A target's first token is no text.
  const bool begins = history <= std::max<std::size_t>(bounds_.before.size(), source_tokens_ > 0);
  return text::StreamDecoder(
      tokenizer_, begins ? text::StreamDecoder::From::start : text::StreamDecoder::From::middle,
      source_tokens_ > 0 ? text::Specials::recognised : text::Specials::as_text);
}

Tensor Session::read_prompt(std::vector<text::TokenId> history,
                            std::function<void(const std::string&)> emit) {
  const auto tokens = static_cast<std::int64_t>(history.size());
  if (history.empty())
    throw Error(
        ErrorKind::usage,
        "-p: the prompt is empty, and texts of this model begin with no token of their own; "
        "give a prompt")
        .at("-p");
  if (tokens > positions_)
    throw Error(ErrorKind::usage,
                concat("-p: ", tokens, " tokens with the one that starts a text, the ",
                       "model reads at most ", positions_, "; shorten the prompt"))
        .at("-p");
  const std::size_t read_before = read_.size();
  Stopwatch stopwatch;
  Tensor hidden = read(history);
  const text::StreamDecoder decoder = this->decoder(history.size());
  growing_ = std::make_unique<Growing>(
      Growing{std::move(history), decoder, StopFilter(options_.stop, std::move(emit))});
  Generated& result = growing_->result;
  result.prompt_seconds = source_seconds_ + stopwatch.seconds();
  result.prompt_tokens = tokens;
  result.prompt_read = static_cast<std::int64_t>(
      read_.size() > read_before ? read_.size() - read_before : read_.size());
  if (source_tokens_ > 0) result.prompt_tokens = result.prompt_read = source_tokens_;
  result.stop_reason = "length";
  growing_->stopwatch.restart();
  return hidden;
}

Generated Session::go_on(std::vector<text::TokenId> history,
                         std::function<void(const std::string&)> emit) {
  const torch::NoGradGuard no_grad;
  if (options_.beams > 1) {
    search(read_prompt(std::move(history), std::move(emit)));
  } else {
    begin(std::move(history), std::move(emit));
    Session* const self = this;
    while (open()) step({&self, 1});
  }
  return finish();
}

void Session::begin(std::vector<text::TokenId> history,
                    std::function<void(const std::string&)> emit) {
  const torch::NoGradGuard no_grad;
  const Tensor hidden = read_prompt(std::move(history), std::move(emit));
  growing_->open = options_.new_tokens > 0;
  if (!open()) return;
  const Tensor logits = model_.logits(hidden, pass_);
  draw({logits.const_data_ptr<float>(), static_cast<std::size_t>(logits.numel())});
}

bool Session::open() const {
  return growing_ && growing_->open;
}

void Session::step(std::span<Session* const> open) {
  const torch::NoGradGuard no_grad;
  const model::Model& model = open[0]->model_;
  const model::Pass& pass = open[0]->pass_;
  model::ForwardState state(pass);
  std::vector<text::TokenId> ids;
  for (Session* session : open) {
    state.caches.push_back(&session->cache_);
    ids.push_back(session->growing_->history.back());
    session->read_.push_back(ids.back());
  }
  const Tensor logits = model.logits(model.hidden(ids_tensor(ids).view({-1, 1}), state), pass);
  const auto width = static_cast<std::size_t>(logits.size(-1));
  for (std::size_t i = 0; i < open.size(); ++i)
    open[i]->draw({logits.const_data_ptr<float>() + i * width, width});
}

Generated Session::finish() {
  Growing& text = *growing_;
  if (text.result.stop_reason != "stop") {
    if (!text.filter.push(text.decoder.finish())) text.result.stop_reason = "stop";
    text.filter.finish();
  }
  text.result.text = text.filter.passed();
  text.result.new_seconds = text.stopwatch.seconds();
  Generated result = std::move(text.result);
  growing_.reset();
  stop_if_interrupted();
  return result;
}

void Session::search(const Tensor& hidden) {
  Generated& result = growing_->result;
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
  for (const text::TokenId id : result.ids)
    if (!growing_->filter.push(growing_->decoder.push(id))) {
      result.stop_reason = "stop";
      break;
    }
}

void Session::draw(std::span<const float> logits) {
  Growing& text = *growing_;
  // Rows of the output layer beyond the tokenizer's ids are no text.
  const std::span<const float> of_tokens =
      logits.first(static_cast<std::size_t>(tokenizer_.vocab_size()));
  if (!all_finite(of_tokens))
    model::throw_nonfinite(
        model_,
        concat("the logits after ", counted(text.history.size(), "token"), " are not finite"));
  const text::TokenId id = sampler_.next(of_tokens, text.history);
  text.open = false;
  if (bounds_.ends_text(id)) {
    text.result.stop_reason = "end_of_text";
    return;
  }
  text.result.ids.push_back(id);
  text.history.push_back(id);
  warn_beyond_context(text.history.size());
  if (!text.filter.push(text.decoder.push(id)))
    text.result.stop_reason = "stop";
  else if (interrupted() ||
           static_cast<std::int64_t>(text.result.ids.size()) == options_.new_tokens)
    text.result.stop_reason = "length";
  else if (cache_.position() == positions_)
    text.result.stop_reason = "context";
  else
    text.open = true;
}

namespace {

// Tokens that the text of `prompt` begins with; the session has read its source where there is one.
std::vector<text::TokenId> beginning(Session& session, const model::Model& model,
                                     const text::Tokenizer& tokenizer,
                                     const model::TextBounds& bounds, const std::string& prompt) {
  std::vector<text::TokenId> ids = bounds.before;
  if (!checkpoint::reads_source(model.config())) {
    tokenizer.encode(prompt, ids);
    return ids;
  }
  std::vector<text::TokenId> source;
  tokenizer.encode(prompt, source, text::Specials::recognised);
  if (source.empty())
    throw Error(ErrorKind::usage, "-p: the prompt is empty; of an encoder-decoder it is the source")
        .at("-p");
  source.insert(source.end(), bounds.after_source.begin(), bounds.after_source.end());
  session.read_source(source);
  if (ids.empty()) ids = {text::start_token(tokenizer)};
  return ids;
}

// Of several prompts an error names the one, counted from 1, that it comes from.
template <class Body>
void naming_prompt(std::size_t i, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) throw;
    throw Error(error.kind(), concat("prompt ", i + 1, ": ", error.what()))
        .in(error.file())
        .at(error.field());
  }
}

// Gives texts that grow side by side one after another.
class InOrder {
 public:
  InOrder(std::size_t count, const std::function<void(const std::string&)>& emit,
          const std::function<void(const Generated&)>& done)
      : texts_(count), emit_(emit), done_(done) {}

  void emit(std::size_t i, const std::string& piece) {
    if (i == front_)
      say(piece);
    else
      texts_[i].held += piece;
  }
  void finish(std::size_t i, Generated result) {
    texts_[i].result = std::move(result);
    while (front_ < texts_.size() && texts_[front_].result) {
      done_(*texts_[front_].result);
      texts_[front_] = {};
      if (++front_ == texts_.size()) return;
      if (!texts_[front_].held.empty()) say(std::exchange(texts_[front_].held, {}));
    }
  }

 private:
  void say(const std::string& piece) const {
    if (emit_) emit_(piece);
  }
  struct Text {
    std::string held;
    std::optional<Generated> result;
  };
  std::vector<Text> texts_;
  std::size_t front_ = 0;
  const std::function<void(const std::string&)>& emit_;
  const std::function<void(const Generated&)>& done_;
};

}  // namespace

void generate(const model::Model& model, const text::Tokenizer& tokenizer,
              const model::TextBounds& bounds, std::span<const std::string> prompts,
              const GenerateOptions& options, const model::Pass& pass,
              const std::function<void(const std::string&)>& emit,
              const std::function<void(const Generated&)>& done) {
  struct Running {
    std::size_t index;
    std::unique_ptr<Session> session;
  };
  const bool apart = options.beams > 1 || !checkpoint::causality_warnings(model.config()).empty();
  const std::size_t at_once = apart ? 1 : static_cast<std::size_t>(options.at_once);
  InOrder texts(prompts.size(), emit, done);
  std::vector<Running> running;
  for (std::size_t next = 0; next < prompts.size() || !running.empty();) {
    while (next < prompts.size() && running.size() < at_once) {
      const std::size_t i = next++;
      auto session = std::make_unique<Session>(model, tokenizer, bounds, options, pass);
      const auto emit_this = [&texts, i](const std::string& piece) { texts.emit(i, piece); };
      const auto start = [&] {
        std::vector<text::TokenId> ids = beginning(*session, model, tokenizer, bounds, prompts[i]);
        if (options.beams == 1) return session->begin(std::move(ids), emit_this);
        texts.finish(i, session->go_on(std::move(ids), emit_this));
      };
      if (prompts.size() == 1)
        start();
      else
        naming_prompt(i, start);
      if (options.beams == 1) running.push_back({i, std::move(session)});
    }
    std::vector<Session*> open;
    for (auto each = running.begin(); each != running.end();) {
      if (each->session->open()) {
        open.push_back((each++)->session.get());
        continue;
      }
      texts.finish(each->index, each->session->finish());
      each = running.erase(each);
    }
    // What has ended makes room for others first.
    if (!open.empty() && (open.size() == at_once || next == prompts.size())) Session::step(open);
  }
}

}  // namespace mote::run
