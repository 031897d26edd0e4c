#include "run/generator.h"

#include "base/check.h"
#include "base/counted.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "model/buffers.h"
#include "model/nonfinite.h"

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

Tensor ids_tensor(const std::vector<text::TokenId>& ids) {
  return torch::tensor(at::ArrayRef<text::TokenId>(ids), torch::kInt64).view({1, -1});
}

bool all_finite(std::span<const float> values) {
  // A sum of zeros, unless one of the factors is infinite or NaN.
  float sum = 0;
  for (const float value : values) sum += value * 0;
  return sum == 0;
}

}  // namespace

Generated generate(const model::Model& model, const text::Tokenizer& tokenizer,
                   const std::string& prompt, const GenerateOptions& options,
                   const model::Pass& given, const std::function<void(const std::string&)>& emit) {
  const torch::NoGradGuard no_grad;
  if (const std::string why = checkpoint::why_no_generation(model.config()); !why.empty())
    throw Error(ErrorKind::unsupported,
                concat("text cannot be made with it: ", why,
                       "; with select.elsewhere = \"topk\" in its config.json each token gets its "
                       "best experts instead"))
        .at("feed_forward.router.select.elsewhere");
  Generated result;
  std::vector<text::TokenId> history = tokenizer.start();
  tokenizer.encode(prompt, history);
  if (history.empty()) history = {tokenizer.end_of_text()};
  result.prompt_tokens = static_cast<std::int64_t>(history.size());
  const std::int64_t positions = checkpoint::most_positions(model.config());
  if (result.prompt_tokens > positions)
    throw Error(ErrorKind::usage,
                concat("-p: ", result.prompt_tokens, " tokens with those that start a text, the ",
                       "model reads at most ", positions, "; shorten the prompt"))
        .at("-p");
  model::Cache cache = model.make_cache(options.memory_tokens);
  model::Buffers buffers;
  model::Pass pass = given;
  pass.buffers = &buffers;
  const auto hidden_of = [&](const Tensor& ids_BT) {
    model::ForwardState state(pass);
    state.cache = &cache;
    return model.hidden(ids_BT, state);
  };
  Sampler sampler(options.sampler);

  Stopwatch stopwatch;
  const Tensor prompt_ids = ids_tensor(history);
  Tensor hidden;
  for (std::int64_t first = 0; first < prompt_ids.size(1); first += options.prompt_step) {
    const std::int64_t count = std::min(options.prompt_step, prompt_ids.size(1) - first);
    hidden = hidden_of(prompt_ids.narrow(1, first, count));
    stop_if_interrupted();
  }
  Tensor logits = model.logits(model::last_position(hidden), pass);
  result.prompt_seconds = stopwatch.seconds();

  stopwatch.restart();
  text::StreamDecoder decoder(tokenizer);
  StopFilter filter(options.stop, emit);
  result.stop_reason = "length";
  Tensor next_id = ids_tensor({0});
  const auto vocabulary = static_cast<std::size_t>(tokenizer.vocab_size());
  while (static_cast<std::int64_t>(result.ids.size()) < options.new_tokens) {
    // Rows of the output layer beyond the tokenizer's ids are no text.
    const std::span<const float> of_tokens(logits.const_data_ptr<float>(), vocabulary);
    if (!all_finite(of_tokens))
      model::throw_nonfinite(
          model, concat("the logits after ", counted(history.size(), "token"), " are not finite"));
    const text::TokenId id = sampler.next(of_tokens, history);
    if (id == tokenizer.end_of_text()) {
      result.stop_reason = "end_of_text";
      break;
    }
    result.ids.push_back(id);
    history.push_back(id);
    if (!filter.push(decoder.push(id))) {
      result.stop_reason = "stop";
      break;
    }
    if (interrupted() || static_cast<std::int64_t>(result.ids.size()) == options.new_tokens) break;
    if (cache.position() == positions) {
      result.stop_reason = "context";
      break;
    }
    next_id.fill_(id);
    logits = model.logits(hidden_of(next_id), pass);
  }
  if (result.stop_reason != "stop") {
    if (!filter.push(decoder.finish())) result.stop_reason = "stop";
    filter.finish();
  }
  result.text = filter.passed();
  result.new_seconds = stopwatch.seconds();
  stop_if_interrupted();
  return result;
}

}  // namespace mote::run
