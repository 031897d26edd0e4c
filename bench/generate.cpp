// A saved model from a prompt of random tokens on: the rate of reading it, of one token after the other,
// and where the time goes.
#include "base/check.h"
#include "base/process.h"
#include "bench/record.h"
#include "model/buffers.h"
#include "model/ops/timing.h"
#include "model/packed_weight.h"
#include "model/saved.h"
#include "run/generator.h"

namespace mote::bench {
namespace {

constexpr std::int64_t kPrompts[] = {128, 256};
constexpr std::int64_t kNew = 64;

// Reads `ids` a step at a time or one by one; logits are made where a token is drawn.
class Reader {
 public:
  Reader(const model::Model& model, model::Pass pass)
      : model_(model), pass_(pass), cache_(model.make_cache()) {
    pass_.buffers = &buffers_;
    pass_.times = &times_;
  }
  double seconds(const Tensor& ids_1T, std::int64_t at_once) {
    cache_.reset();
    times_.reset();
    const Stopwatch stopwatch;
    for (std::int64_t t = 0; t < ids_1T.size(1); t += at_once) {
      model::ForwardState state(pass_);
      state.caches = {&cache_};
      const Tensor hidden = model_.hidden(ids_1T.narrow(1, t, at_once), state);
      if (at_once == 1 || t + at_once == ids_1T.size(1))
        model_.logits(model::last_position(hidden), pass_);
    }
    return stopwatch.seconds();
  }
  const model::OpTimes& times() const { return times_; }

 private:
  const model::Model& model_;
  model::Pass pass_;
  model::OpTimes times_;
  model::Buffers buffers_;
  model::Cache cache_;
};

}  // namespace

void generate(const Report& report) {
  const torch::NoGradGuard no_grad;
  const Options& options = report.options();
  const std::filesystem::path path = model::find_model(options.model);
  const auto model = model::load_model(path, *options.pass.run.executor);
  if (checkpoint::reads_source(model->config()))
    throw Error(
        ErrorKind::unsupported,
        concat(path.string(), ": an encoder-decoder; bench generate reads prompts of decoders"))
        .in(path.string());
  const std::int64_t vocabulary = model->config().vocab_size;
  if (options.pass.int8_activations) model::check_int8_activations(*model);
  const std::string activations = options.pass.int8_activations ? "int8" : "f32";
  Reader reader(*model, options.pass);
  const auto row = [&](const std::string& phase, std::int64_t tokens, std::int64_t at_once) {
    const std::string shape =
        concat(path.filename().string(), " ", phase, "=", tokens, " activations=", activations);
    if (!report.wants("generate", shape)) return;
    const Tensor ids_1T = (torch::arange(tokens) * 7919 % vocabulary).view({1, -1});
    reader.seconds(ids_1T, at_once);
    std::vector<double> seconds;
    for (int i = 0; i < options.repeat; ++i) seconds.push_back(reader.seconds(ids_1T, at_once));
    report.rate("generate", shape, activations, "tokens/s", static_cast<double>(tokens), seconds,
                {{"phase", phase},
                 {"time_by_op", shares_by_op(reader.times(), seconds.back())},
                 {"peak_rss_bytes", peak_rss_bytes()}});
  };
  const std::int64_t step = run::prompt_step({}, model->config());
  for (const std::int64_t prompt : kPrompts) row("prompt", prompt, std::min(prompt, step));
  row("decode", kNew, 1);
}

}  // namespace mote::bench
