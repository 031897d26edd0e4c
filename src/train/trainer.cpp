#include "train/trainer.h"

#include <cmath>
#include <memory>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "base/toml.h"
#include "kernels/linear/gemm/gemm.h"
#include "model/loss.h"
#include "model/saved.h"
#include "text/batches.h"
#include "text/bpe.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/state.h"

namespace mote::train {
namespace {

namespace fs = std::filesystem;

std::string first_difference(const Json& a, const Json& b, const std::string& path) {
  for (const auto& [key, value] : a.items()) {
    const std::string here = path.empty() ? key : path + "." + key;
    if (!b.contains(key)) return here;
    if (value.is_object()) {
      const std::string inner = first_difference(value, b[key], here);
      if (!inner.empty()) return inner;
    } else if (value != b[key]) {
      return here;
    }
  }
  return "";
}

// Makes the folder's recipe.toml, or checks that it holds the same run.
void settle_recipe(const Recipe& recipe, const fs::path& folder) {
  const fs::path path = folder / "recipe.toml";
  create_folder(folder);
  remove_leftovers(folder);
  if (!fs::exists(path)) {
    if (!fs::is_empty(folder))
      throw Error(ErrorKind::system,
                  concat(folder.string(), " holds files but no recipe.toml: it is no training run"))
          .in(folder.string());
    write_file(path, to_toml(to_json(recipe)));
    return;
  }
  const Json now = to_json(recipe),
             then = to_json(recipe_from(read_toml(path.string()), path.string()));
  const std::string field = first_difference(now, then, "");
  if (!field.empty())
    throw Error(ErrorKind::config,
                concat(path.string(), ": '", field,
                       "' differs from the recipe given; resume with the same recipe, or "
                       "train into a new folder"))
        .in(path.string())
        .at(field);
}

// Opened before anything is written, so that a missing corpus leaves no folder behind.
struct Corpora {
  std::unique_ptr<text::Corpus> train;  // null: the folder holds its tokens
  std::unique_ptr<text::Corpus> valid;  // null: none is asked for
};

Corpora open_corpora(const DataConfig& data, bool tokenised) {
  Corpora corpora;
  if (!tokenised) corpora.train = text::open_corpus(data.train);
  if (!data.valid.empty())
    corpora.valid = text::open_corpus(data.valid, static_cast<std::uint64_t>(data.valid_bytes));
  return corpora;
}

void tokenise(const DataConfig& data, const text::Corpus& corpus, const fs::path& out,
              int threads) {
  log::info(
      concat("tokenising ", data.train, ", ", format_bytes(static_cast<double>(corpus.bytes()))));
  const auto tokenizer = data.tokenizer == TokenizerKind::bytes
                             ? text::make_byte_tokenizer()
                             : text::train_bpe(corpus, static_cast<int>(data.vocab_size), threads);
  text::prepare(corpus, *tokenizer, data.train, out, threads);
}

// bfloat16 only where a fast kernel has it: the reference's would take days.
kernels::Precision training_precision(const TrainingConfig& config, const kernels::Run& run) {
  if (!config.bf16) return kernels::Precision::f32;
  kernels::Gemm like;
  like.precision = kernels::Precision::bf16;
  if (kernels::gemm_variant(like, run).isa != kernels::Isa::reference)
    return kernels::Precision::bf16;
  log::warn(
      "training.bf16 is true, but this processor (or --isa) has no bfloat16 products: training in "
      "float32");
  return kernels::Precision::f32;
}

// exp(entropy of the shares of the routed rows that the experts got) / experts: 1 when all are used
// alike, 1 / experts when one gets everything. Of the layer where it is least.
class UsagePerplexity final : public model::Observer {
 public:
  void routed(const std::string&, const model::ops::Assignment& assignment) override {
    const Tensor& ends_E = assignment.routes->ends_E;
    const auto* ends = ends_E.const_data_ptr<std::int32_t>();
    const auto rows = static_cast<double>(assignment.routes->rows());
    double entropy = 0;
    for (std::int64_t e = 0; e < ends_E.size(0); ++e) {
      const double share = (ends[e] - (e == 0 ? 0 : ends[e - 1])) / rows;
      if (share > 0) entropy -= share * std::log(share);
    }
    const double perplexity = std::exp(entropy) / static_cast<double>(ends_E.size(0));
    least_ = std::min(least_.value_or(1), perplexity);
  }
  void reset() { least_.reset(); }
  std::optional<double> least() const { return least_; }

 private:
  std::optional<double> least_;
};

class Run {
 public:
  Run(const Recipe& recipe, const fs::path& folder, std::unique_ptr<text::Corpus> valid,
      const kernels::Run& run);
  TrainResult go();

 private:
  double step(std::int64_t index);
  void evaluate(std::int64_t steps_done);
  void save();
  [[noreturn]] void stop_at_nonfinite(std::int64_t index, const text::Batch& batch,
                                      const model::Memory& before, const std::string& what);
  std::string find_nonfinite_layer(const text::Batch& batch, model::Memory memory);
  model::Pass pass(std::int64_t step) const;  // of training
  model::Pass quiet_pass(std::int64_t step) const;
  Tensor ids_of(const std::vector<text::TokenId>& ids) const;

  const Recipe recipe_;
  const fs::path folder_, state_path_;
  const kernels::Run run_;
  const kernels::Precision precision_;
  std::shared_ptr<const text::TokenFile> tokens_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<text::BatchStream> batches_;
  std::unique_ptr<text::Corpus> valid_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Metrics> metrics_;
  model::Memory memory_;
  LossWindow window_;
  std::int64_t first_step_ = 0, saved_step_ = -1;
  double norm_ = 0;
  UsagePerplexity usage_;
  TrainResult result_;
};

Run::Run(const Recipe& recipe, const fs::path& folder, std::unique_ptr<text::Corpus> valid,
         const kernels::Run& run)
    : recipe_(recipe),
      folder_(folder),
      state_path_(folder / "training_state.safetensors"),
      run_(run),
      precision_(training_precision(recipe.training, run)),
      valid_(std::move(valid)) {
  tokens_ = std::make_shared<const text::TokenFile>(folder / "data");
  tokenizer_ = text::load_tokenizer(folder / "data");
  batches_ =
      std::make_unique<text::BatchStream>(tokens_, recipe.training.streams, recipe.model.context);
  checkpoint::ModelConfig config = recipe.model;
  config.vocab_size = tokenizer_->vocab_size();
  model_ = model::make_model(config);
  model::initialize(*model_, static_cast<std::uint64_t>(recipe.training.seed));
  optimizer_ = std::make_unique<Optimizer>(model::trainable_parameters(*model_).tensors,
                                           recipe.training, *run.executor);
  if (fs::exists(state_path_)) {
    first_step_ = saved_step_ =
        load_state(state_path_, *optimizer_, memory_, window_, config.layers);
    log::info(concat("going on after step ", first_step_));
  }
  metrics_ = std::make_unique<Metrics>(folder / "metrics.jsonl", first_step_);
  model::save_tokenizer(*tokenizer_, folder);
  result_.parameters = model::count_parameters(*model_);
}

model::Pass Run::pass(std::int64_t step) const {
  model::Pass pass;
  pass.run = run_;
  pass.precision = precision_;
  pass.train = true;
  pass.seed = static_cast<std::uint64_t>(recipe_.training.seed);
  pass.step = static_cast<std::uint64_t>(step);
  return pass;
}

model::Pass Run::quiet_pass(std::int64_t step) const {
  model::Pass quiet = pass(step);
  quiet.train = false;
  return quiet;
}

Tensor Run::ids_of(const std::vector<text::TokenId>& ids) const {
  return torch::tensor(at::ArrayRef<text::TokenId>(ids), torch::kInt64)
      .view({recipe_.training.streams, recipe_.model.context});
}

double Run::step(std::int64_t index) {
  const text::Batch batch = batches_->at(index);
  if (batch.starts_epoch) memory_.reset();
  const model::Memory before = memory_;
  model::Pass observed = pass(index);
  observed.observer = &usage_;
  usage_.reset();
  const auto loss = model_->loss(ids_of(batch.ids), ids_of(batch.targets), memory_, observed);
  const double value = loss.token_mean.item<double>();
  if (!std::isfinite(value) || !std::isfinite(loss.total.item<double>()))
    stop_at_nonfinite(index, batch, before, concat("the loss is ", value));
  loss.total.backward();
  const std::int64_t horizon =
      recipe_.training.schedule_steps ? recipe_.training.schedule_steps : recipe_.training.steps;
  norm_ = optimizer_->step(
      learning_rate(recipe_.training.learning_rate, index, recipe_.training.warmup, horizon));
  if (!std::isfinite(norm_))
    stop_at_nonfinite(index, batch, before,
                      concat("the loss is ", value, " but the norm of its gradients is ", norm_));
  return value;
}

// The first block whose output is not finite.
class NonfiniteSearch final : public model::Observer {
 public:
  void left(const std::string& name, const Tensor& x_BTD) override {
    if (found.empty() && !x_BTD.isfinite().all().item<bool>()) found = name;
  }
  std::string found;
};

std::string Run::find_nonfinite_layer(const text::Batch& batch, model::Memory memory) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, value] : optimizer_->parameters())
    if (!value.isfinite().all().item<bool>()) return "parameter " + name;
  NonfiniteSearch search;
  model::Pass watched = quiet_pass(0);
  watched.observer = &search;
  model::ForwardState state(watched);
  state.memory = &memory;
  model_->hidden(ids_of(batch.ids), state);
  return search.found.empty() ? "head" : search.found;
}

void Run::stop_at_nonfinite(std::int64_t index, const text::Batch& batch,
                            const model::Memory& before, const std::string& what) {
  const std::string good = saved_step_ < 0
                               ? "none was saved yet"
                               : concat(state_path_.string(), " after step ", saved_step_);
  throw Error(ErrorKind::numeric,
              concat("step ", index, ": ", what, ", first seen in ",
                     find_nonfinite_layer(batch, before), "; last good checkpoint: ", good,
                     "; try a lower training.learning_rate or a smaller training.clip_norm"))
      .in(folder_.string());
}

void Run::evaluate(std::int64_t steps_done) {
  if (!valid_) return;
  model::Pass quiet = quiet_pass(steps_done);
  quiet.precision = kernels::Precision::f32;
  model::CorpusLossOptions options;
  options.progress = [this](std::int64_t) {
    if (interrupted()) save();
    stop_if_interrupted();
  };
  const model::CorpusLoss loss = model::corpus_loss(*model_, *tokenizer_, *valid_, quiet, options);
  result_.valid_loss = loss.mean();
  result_.valid_bits_per_byte = loss.bits_per_byte();
  metrics_->write({{"step", steps_done},
                   {"valid_loss", loss.mean()},
                   {"valid_bits_per_byte", loss.bits_per_byte()}});
  log::info(concat("step ", steps_done, ": valid loss ", loss.mean(), ", ", loss.bits_per_byte(),
                   " bits per byte"));
}

void Run::save() {
  if (saved_step_ == optimizer_->steps_done()) return;
  // The state last: a run killed in between goes on from the state before and writes both again.
  model::save_model(*model_, folder_);
  save_state(state_path_, *optimizer_, memory_, window_);
  saved_step_ = optimizer_->steps_done();
}

TrainResult Run::go() {
  const Stopwatch stopwatch;
  const std::int64_t steps = recipe_.training.steps,
                     tokens_per_step = recipe_.training.streams * recipe_.model.context;
  log::Progress progress("training", steps, "steps");
  progress.start_at(first_step_);
  double training_seconds = 0;
  for (std::int64_t index = first_step_; index < steps; ++index) {
    if (interrupted()) {
      save();
      stop_if_interrupted();
    }
    // Before the step rather than after: a run that was stopped while it evaluated does it again.
    const std::int64_t every = recipe_.training.eval_every;
    if (every > 0 && index > 0 && index % every == 0) evaluate(index);
    const Stopwatch step_stopwatch;
    const double loss = step(index);
    training_seconds += step_stopwatch.seconds();
    window_.sum += loss, ++window_.steps;
    const std::int64_t done = index + 1;
    if (done % recipe_.training.log_every == 0 || done == steps) {
      const double mean = window_.sum / static_cast<double>(window_.steps);
      result_.train_loss = mean;
      Json line = {
          {"step", done},
          {"loss", loss},
          {"mean_loss", mean},
          {"grad_norm", norm_},
          {"tokens", done * tokens_per_step},
          {"tokens_per_second",
           static_cast<double>((done - first_step_) * tokens_per_step) / training_seconds}};
      if (usage_.least()) line["usage_perplexity"] = *usage_.least();
      metrics_->write(line);
      window_ = {};
    }
    progress.update(done, concat("loss ", loss));
    if (done % recipe_.training.save_every == 0) save();
  }
  progress.finish();
  save();
  evaluate(steps);
  result_.steps = steps;
  result_.tokens = steps * tokens_per_step;
  result_.seconds = stopwatch.seconds();
  result_.tokens_per_second =
      training_seconds > 0
          ? static_cast<double>((steps - first_step_) * tokens_per_step) / training_seconds
          : 0;
  return result_;
}

}  // namespace

TrainResult train(const Recipe& recipe, const fs::path& folder, bool resume,
                  const kernels::Run& run) {
  if (!resume) check_folder_is_free(folder);
  const fs::path data = folder / "data";
  Corpora corpora = open_corpora(recipe.data, fs::exists(data));
  settle_recipe(recipe, folder);
  if (corpora.train) tokenise(recipe.data, *corpora.train, data, run.executor->threads());
  return Run(recipe, folder, std::move(corpora.valid), run).go();
}

}  // namespace mote::train
