#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "base/toml.h"
#include "base/version.h"
#include "model/loss.h"
#include "model/nonfinite.h"
#include "model/saved.h"
#include "model/usage.h"
#include "report/training.h"
#include "text/pair_batches.h"
#include "train/estimate.h"
#include "train/first_model.h"
#include "train/metrics.h"
#include "train/optimizer/optimizer.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/state.h"
#include "train/tokens.h"
#include "train/watchers.h"

namespace mote::train {
namespace {

constexpr const char* kState = "training_state.safetensors";

std::unique_ptr<text::Batches> make_batches(const Recipe& recipe,
                                            std::shared_ptr<const text::TokenFile> tokens,
                                            const text::Tokenizer& tokenizer) {
  const std::int64_t streams = recipe.training.streams;
  if (recipe.data.task != text::Task::text)
    return text::make_pair_batches(std::move(tokens), tokenizer, streams, pair_options(recipe));
  return std::make_unique<text::BatchStream>(std::move(tokens), streams, recipe.model.context);
}

double targets_in(const model::TrainingBatch& batch) {
  return static_cast<double>((batch.targets_BT >= 0).sum().item<std::int64_t>());
}

model::TrainingBatch sequences_of(const model::TrainingBatch& batch, std::int64_t first,
                                  std::int64_t count) {
  const auto some = [&](const Tensor& x) { return x.defined() ? x.narrow(0, first, count) : x; };
  return {some(batch.ids_BT),
          some(batch.targets_BT),
          {some(batch.source.ids_BS), some(batch.source.lengths_B)}};
}

class Trainer {
 public:
  Trainer(RunFolder& folder, const kernels::Run& run);
  TrainResult go();

 private:
  struct StepLoss {
    double mean = 0;  // nats per token, without penalties
    bool finite = true;
  };
  StepLoss pass_parts(const text::Batch& batch, std::int64_t index, bool learn,
                      model::Memory& memory, model::Observer* observer);
  double step(std::int64_t index);
  // Whether metrics.jsonl has a line after so many steps.
  bool is_told(std::int64_t steps_done) const {
    return steps_done % recipe_.training.log_every == 0 || steps_done == recipe_.training.steps;
  }
  void tell(std::int64_t steps_done, double loss);
  void add_usage(Json& line) const;
  void write_report() const;
  void evaluate(std::int64_t steps_done);
  model::CorpusLoss valid_loss(std::int64_t steps_done, const model::Pass& pass,
                               const model::CorpusLossOptions& options) const;
  void save();
  void check_next_loss();
  void check_tokenizer(const fs::path& latest) const;
  void check_window(const fs::path& state) const;
  void say_what_it_takes() const;
  void say_what_it_took(std::int64_t steps_done, double step_seconds) const;
  [[noreturn]] void stop();
  [[noreturn]] void stop_at_nonfinite(std::int64_t index, const text::Batch& batch,
                                      const model::Memory& before, const std::string& what);
  std::string advice_after_nonfinite() const;
  std::string find_nonfinite_layer(const text::Batch& batch, model::Memory memory);
  model::Pass training_pass(std::int64_t step) const;
  model::Pass quiet_pass(std::int64_t step) const;
  std::int64_t tokens_per_step() const { return batches_->tokens_per_step(); }

  const Recipe recipe_;
  RunFolder& folder_;
  const kernels::Run run_;
  const kernels::Precision precision_;
  const std::shared_ptr<const text::TokenFile> tokens_;
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const std::unique_ptr<text::Batches> batches_;
  const Origin origin_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Metrics> metrics_;
  model::Memory memory_;
  LossWindow window_;
  std::int64_t first_step_ = 0, saved_step_ = -1;
  double norm_ = 0, rate_ = 0, training_seconds_ = 0;
  Stopwatch stopwatch_;
  model::UsageCount usage_{/*channels=*/false};
  TrainResult result_;
};

Trainer::Trainer(RunFolder& folder, const kernels::Run& run)
    : recipe_(folder.recipe()),
      folder_(folder),
      run_(run),
      precision_(training_precision(recipe_.training, run)),
      tokens_(std::make_shared<const text::TokenFile>(folder.data())),
      tokenizer_(tokens_->tokenizer()),
      batches_(make_batches(recipe_, tokens_, *tokenizer_)),
      origin_{recipe_, checkpoint::xxh64_of_file(folder.data() / text::kIdsFile), isa_of(run),
              precision_ == kernels::Precision::bf16 ? "bf16" : "f32", version()} {
  const std::optional<fs::path> latest = folder_.latest();
  if (latest) {
    check_tokenizer(*latest);
    model_ = model::make_model(model_for(recipe_, *tokenizer_, *latest));
    model::load_parameters(*model_, *latest);
    model::check_finite(*model_, latest->string());
  } else {
    model_ = first_model(recipe_, *tokenizer_, *run_.executor);
  }
  const model::Trainable parameters = model::trainable_parameters(*model_);
  if (parameters.tables.empty() && to_json(recipe_.training.tables) != to_json(TablesConfig{}))
    log::warn("training.tables is set, but no layer of the model has tables of rows");
  optimizer_ = make_optimizer(parameters, recipe_.training, run);
  const fs::path metrics = folder_.path() / "metrics.jsonl";
  if (latest) {
    first_step_ = saved_step_ = folder_.latest_step();
    load_state(*latest / kState, first_step_, *optimizer_, memory_, window_, origin_,
               batches_->steps_per_epoch());
    metrics_ = std::make_unique<Metrics>(metrics, first_step_);
    check_window(*latest / kState);
    folder_.keep_recipe();
    log::info(concat("going on after step ", first_step_));
  } else {
    metrics_ = std::make_unique<Metrics>(metrics, 0);
  }
  metrics_->begin();
  result_.parameters = model::count_parameters(*model_);
}

// The weights were trained on the ids of one tokenizer.
void Trainer::check_tokenizer(const fs::path& latest) const {
  const fs::path ours = text::tokenizer_file(folder_.data()), saved = text::tokenizer_file(latest);
  if (ours.filename() != saved.filename() || read_file(ours) != read_file(saved))
    throw Error(ErrorKind::file, concat(ours.string(), " and ", saved.string(),
                                        " differ; put the one back that the run was made with"))
        .in(ours.string());
}

// What the state has still to tell begins where metrics.jsonl ends; lines that a power failure took
// may be missing between.
void Trainer::check_window(const fs::path& state) const {
  const std::int64_t told = metrics_->told_until(), untold = first_step_ - told;
  if (window_.steps > untold)
    throw Error(
        ErrorKind::file,
        concat(state.string(), ": window_steps is ", window_.steps, ", metrics.jsonl tells ",
               "a mean loss up to step ", told, " of ", first_step_,
               "; one of the two is damaged: put it back, or go on without metrics.jsonl"))
        .in(state.string())
        .at("window_steps");
  if (window_.steps < untold)
    log::warn(concat("the losses of steps ", told + 1, " to ", first_step_ - window_.steps,
                     " are told nowhere: metrics.jsonl has lost lines"));
}

model::Pass Trainer::training_pass(std::int64_t step) const {
  model::Pass pass;
  pass.run = run_;
  pass.precision = precision_;
  pass.train = true;
  pass.seed = static_cast<std::uint64_t>(recipe_.training.seed);
  pass.step = static_cast<std::uint64_t>(step);
  return pass;
}

model::Pass Trainer::quiet_pass(std::int64_t step) const {
  model::Pass quiet = training_pass(step);
  quiet.train = false;
  return quiet;
}

// Of the parts of a batch, one after the other; where `learn`, backward as well, of the mean of all.
Trainer::StepLoss Trainer::pass_parts(const text::Batch& batch, std::int64_t index, bool learn,
                                      model::Memory& memory, model::Observer* observer) {
  const std::int64_t parts = recipe_.training.accumulate,
                     streams = recipe_.training.streams_at_once();
  const model::TrainingBatch whole = model::tensors_of(batch, recipe_.training.streams);
  const double targets = targets_in(whole);
  std::vector<model::Memory> remembered;
  StepLoss result;
  for (std::int64_t part = 0; part < parts && result.finite; ++part) {
    model::Pass pass = training_pass(index * parts + part);
    pass.observer = observer;
    remembered.push_back(memory.of_sequences(part * streams, streams));
    const model::TrainingBatch some = sequences_of(whole, part * streams, streams);
    const auto loss = model_->loss(some, remembered.back(), pass);
    const double share = targets_in(some) / targets;
    result.mean += share * loss.token_mean.item<double>();
    result.finite = std::isfinite(result.mean) && std::isfinite(loss.total.item<double>());
    if (!learn || !result.finite) continue;
    for (const auto& commit : loss.commits) commit();
    (loss.total * share).backward();
  }
  if (result.finite) memory = model::Memory::joined(remembered);
  return result;
}

double Trainer::step(std::int64_t index) {
  const text::Batch batch = batches_->at(index);
  if (batch.starts_epoch) memory_.reset();
  const model::Memory before = memory_;
  usage_.reset();
  const StepLoss loss =
      pass_parts(batch, index, /*learn=*/true, memory_, is_told(index + 1) ? &usage_ : nullptr);
  if (!loss.finite) stop_at_nonfinite(index, batch, before, concat("the loss is ", loss.mean));
  const TrainingConfig& training = recipe_.training;
  rate_ = learning_rate(training.learning_rate, index, training.warmup, training.horizon());
  norm_ = optimizer_->step(rate_);
  if (!std::isfinite(norm_))
    stop_at_nonfinite(
        index, batch, before,
        concat("the loss is ", loss.mean, " but the norm of its gradients is ", norm_));
  return loss.mean;
}

std::string Trainer::find_nonfinite_layer(const text::Batch& batch, model::Memory memory) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, value] : model::trainable_parameters(*model_).tensors)
    if (!value.isfinite().all().item<bool>()) return "parameter " + name;
  NonfiniteSearch search;
  model::Pass watched = quiet_pass(0);
  watched.observer = &search;
  model_->loss(model::tensors_of(batch, recipe_.training.streams), memory, watched);
  return search.found().empty() ? "head" : search.found();
}

void Trainer::stop_at_nonfinite(std::int64_t index, const text::Batch& batch,
                                const model::Memory& before, const std::string& what) {
  throw Error(ErrorKind::numeric,
              concat("step ", index, ": ", what, ", first seen in ",
                     find_nonfinite_layer(batch, before), advice_after_nonfinite()))
      .in(folder_.path().string());
}

std::string Trainer::advice_after_nonfinite() const {
  const std::optional<fs::path> latest = folder_.latest();
  return concat(
      "; last good checkpoint: ",
      latest ? concat(latest->string(), " after step ", saved_step_) : "none was saved yet",
      "; try a lower training.learning_rate or a smaller training.clip_norm in a new run",
      latest ? concat(", --from ", latest->string()) : "");
}

model::CorpusLoss Trainer::valid_loss(std::int64_t steps_done, const model::Pass& pass,
                                      const model::CorpusLossOptions& options) const {
  try {
    if (recipe_.data.task != text::Task::text)
      return model::pairs_loss(*model_, *tokenizer_, *folder_.valid(), pair_options(recipe_), pass,
                               options.progress);
    return model::corpus_loss(*model_, *tokenizer_, *folder_.valid(), pass, options);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::numeric) throw;
    throw Error(ErrorKind::numeric, concat("after step ", steps_done, ", on ", recipe_.data.valid,
                                           ", ", error.what(), advice_after_nonfinite()))
        .in(folder_.path().string())
        .at(error.field());
  }
}

void Trainer::evaluate(std::int64_t steps_done) {
  if (!folder_.valid()) return;
  optimizer_->flush();
  model::Pass quiet = quiet_pass(steps_done);
  quiet.precision = kernels::Precision::f32;
  model::CorpusLossOptions options;
  options.progress = [this](std::int64_t) {
    if (interrupted()) stop();
  };
  const model::CorpusLoss loss = valid_loss(steps_done, quiet, options);
  result_.valid_loss = loss.mean();
  Json line = {{"step", steps_done},
               {"seconds", metrics_->seconds() + stopwatch_.seconds()},
               {"valid_loss", loss.mean()}};
  std::string per_byte;
  if (loss.bytes > 0) {
    result_.valid_bits_per_byte = line["valid_bits_per_byte"] = loss.bits_per_byte();
    per_byte = concat(", ", loss.bits_per_byte(), " bits per byte");
  }
  metrics_->write(line);
  log::info(concat("step ", steps_done, ": valid loss ", loss.mean(), per_byte));
  const std::optional<RunFolder::Best> best = folder_.best();
  if (!best || loss.mean() < best->valid_loss) {
    save();
    folder_.mark_best(steps_done, loss.mean());
  }
}

// Only weights with which the next step has a finite loss are saved: the update that ruined a run
// would be saved with it otherwise, and going on would fail for ever.
void Trainer::save() {
  const std::int64_t steps = optimizer_->steps_done();
  if (saved_step_ == steps) return;
  optimizer_->flush();
  check_next_loss();
  folder_.save(steps, [&](const fs::path& folder) {
    model::save_model(*model_, folder);
    model::save_tokenizer(*tokenizer_,
                          model::own_bounds(*tokenizer_, checkpoint::reads_source(recipe_.model)),
                          folder);
    save_state(folder / kState, *optimizer_, memory_, window_, origin_);
  });
  saved_step_ = steps;
}

void Trainer::check_next_loss() {
  const torch::NoGradGuard no_grad;
  const std::int64_t index = optimizer_->steps_done();
  const text::Batch batch = batches_->at(index);
  model::Memory memory = memory_;
  if (batch.starts_epoch) memory.reset();
  const model::Memory before = memory;
  const StepLoss loss = pass_parts(batch, index, /*learn=*/false, memory, nullptr);
  bool finite = loss.finite;
  for (const auto& [name, value] : model::trainable_parameters(*model_).tensors)
    finite = finite && value.isfinite().all().item<bool>();
  if (!finite) stop_at_nonfinite(index, batch, before, concat("the loss is ", loss.mean));
}

void Trainer::stop() {
  const std::int64_t steps = optimizer_->steps_done();
  if (steps > 0) {
    save();
    write_report();
  }
  throw Error(ErrorKind::interrupted,
              steps == 0 ? concat("interrupted before the first step; nothing is kept in ",
                                  folder_.path().string())
                         : concat("interrupted after step ", steps, "; saved as ",
                                  folder_.latest()->string(),
                                  "; go on with the same command and --resume"));
}

// A line of metrics.jsonl.
void Trainer::tell(std::int64_t steps_done, double loss) {
  const double mean = window_.sum / static_cast<double>(window_.steps);
  result_.train_loss = mean;
  Json line = {
      {"step", steps_done},
      {"loss", loss},
      {"mean_loss", mean},
      {"grad_norm", norm_},
      {"learning_rate", rate_},
      {"tokens", steps_done * tokens_per_step()},
      {"epoch", static_cast<double>(steps_done) / static_cast<double>(batches_->steps_per_epoch())},
      {"seconds", metrics_->seconds() + stopwatch_.seconds()},
      {"tokens_per_second",
       static_cast<double>((steps_done - first_step_) * tokens_per_step()) / training_seconds_}};
  add_usage(line);
  metrics_->write(line);
  window_ = {};
}

void Trainer::add_usage(Json& line) const {
  double least = 1;
  Json layers = Json::object();
  for (const model::LayerUsage& layer : usage_.layers()) {
    if (layer.rows == 0) continue;  // nobody is used, evenly or not
    least = std::min(least, layer.perplexity());
    layers[layer.layer] = {{"usage_perplexity", layer.perplexity()}, {"dead", layer.dead()}};
  }
  if (layers.empty()) return;
  line["usage_perplexity"] = least;
  line["layers"] = layers;
}

void Trainer::write_report() const {
  report::Training page;
  page.title = concat("Training run ", fs::absolute(folder_.path()).lexically_normal().string());
  page.metrics = read_file(folder_.path() / "metrics.jsonl");
  page.recipe = to_toml(to_json(recipe_));
  page.facts = {{"steps done", optimizer_->steps_done()},
                {"tokens", optimizer_->steps_done() * tokens_per_step()},
                {"parameters", result_.parameters.total},
                {"active", result_.parameters.active},
                {"precision", origin_.precision},
                {"instruction set", origin_.isa},
                {"threads", run_.executor->threads()},
                {"mote", origin_.version}};
  if (result_.valid_loss) page.facts["valid loss"] = *result_.valid_loss;
  write_file(folder_.path() / "report.html", report::training_page(page));
}

void Trainer::say_what_it_takes() const {
  tell_warnings(recipe_);
  log::info(concat(result_.parameters.total, " parameters, ", result_.parameters.active,
                   " of them for a token; at least ",
                   format_bytes(least_memory(recipe_, tokenizer_->vocab_size())), " of memory"));
}

// Once some steps were made, which tell better than shapes what the others will take.
void Trainer::say_what_it_took(std::int64_t steps_done, double step_seconds) const {
  const std::int64_t steps = recipe_.training.steps - first_step_;
  if (steps_done - first_step_ == std::min<std::int64_t>(kStepsTried, steps))
    log::info(concat("about ", format_bytes(static_cast<double>(peak_rss_bytes())),
                     " of memory and ", std::ceil(step_seconds * static_cast<double>(steps)),
                     " s for ", steps, " steps"));
}

TrainResult Trainer::go() {
  const TrainingConfig& training = recipe_.training;
  const std::int64_t eval_every = training.steps_between_evaluations();
  if (first_step_ < training.steps) say_what_it_takes();
  log::Progress progress("training", training.steps, "steps");
  progress.start_at(first_step_);
  for (std::int64_t index = first_step_; index < training.steps; ++index) {
    if (interrupted()) stop();
    // Before the step rather than after: a run that was stopped while it evaluated does it again.
    // And before saving: weights that have no finite loss on the validation text are not kept.
    if (index > 0 && index % eval_every == 0) evaluate(index);
    if (index > 0 && index % training.save_every == 0) save();
    const Stopwatch step_stopwatch;
    const double loss = step(index);
    const double step_seconds = step_stopwatch.seconds();
    training_seconds_ += step_seconds;
    window_.sum += loss, ++window_.steps;
    const std::int64_t done = index + 1;
    say_what_it_took(done, step_seconds);
    if (is_told(done)) tell(done, loss);
    progress.update(done, concat("loss ", loss));
  }
  progress.finish();
  evaluate(training.steps);
  save();
  write_report();
  if (const auto best = folder_.best(); best && best->step != training.steps)
    log::info(concat("best valid loss: ", best->valid_loss, " after step ", best->step, ", in ",
                     folder_.checkpoint(best->step).string()));
  result_.steps = training.steps;
  result_.tokens = training.steps * tokens_per_step();
  result_.seconds = stopwatch_.seconds();
  result_.tokens_per_second =
      training_seconds_ > 0
          ? static_cast<double>((training.steps - first_step_) * tokens_per_step()) /
                training_seconds_
          : 0;
  return result_;
}

}  // namespace

std::string isa_of(const kernels::Run& run) {
  kernels::Isa best = kernels::Isa::reference;
  for (const kernels::Isa isa : kernels::all_isas())
    if (isa <= run.ceiling && kernels::supported(isa)) best = isa;
  return kernels::name(best);
}

TrainResult train(const Recipe& recipe, const fs::path& folder, bool resume,
                  const kernels::Run& run) {
  const auto open = [&] {
    try {
      check_memory(recipe, vocab_size_of(recipe, resume ? folder / "data" : fs::path()));
      return std::make_unique<RunFolder>(recipe, folder, resume, run.executor->threads());
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::interrupted) throw;
      throw Error(
          ErrorKind::interrupted,
          concat("interrupted before the first step; nothing was changed in ", folder.string()));
    }
  };
  const auto run_folder = open();
  return Trainer(*run_folder, run).go();
}

}  // namespace mote::train
