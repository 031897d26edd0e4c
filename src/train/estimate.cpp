#include "train/estimate.h"

#include "base/check.h"
#include "base/file.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "model/saved.h"
#include "text/batches.h"
#include "text/bpe.h"
#include "train/first_model.h"

namespace mote::train {
namespace {

constexpr std::uint64_t kMomentBytes = 8, kTrainedBytes = 16;  // per parameter, float32

std::int64_t vocab_size_of(const Recipe& recipe) {
  const DataConfig& data = recipe.data;
  if (text::is_prepared(data.train)) return text::TokenFile(data.train).info().vocab_size;
  const bool named = data.tokenizer != "bytes" && data.tokenizer != "bpe";
  if (!named && !recipe.training.from.empty())
    return model::load_config(model::find_model(recipe.training.from)).model.vocab_size;
  if (data.tokenizer == "bpe") return data.vocab_size;
  return text::tokenizer_named(data.tokenizer)->vocab_size();
}

checkpoint::ModelConfig config_of(const Recipe& recipe) {
  checkpoint::ModelConfig config = recipe.model;
  config.vocab_size = vocab_size_of(recipe);
  return config;
}

std::uint64_t trained_bytes(const model::ParameterCounts& parameters) {
  return kTrainedBytes * static_cast<std::uint64_t>(parameters.total);
}

}  // namespace

Estimate estimate(model::Model& model, const Tensor& ids_BT, const Tensor& targets_BT,
                  const model::Pass& pass, std::int64_t steps, bool has_state) {
  Estimate e;
  e.steps = steps;
  e.tokens = steps * ids_BT.numel();
  e.parameters = model::count_parameters(model);
  model::Memory memory;
  for (int i = 0; i < 2; ++i) {
    const Stopwatch stopwatch;
    model.loss(ids_BT, targets_BT, memory, pass).total.backward();
    for (auto& [name, value] : model::trainable_parameters(model).tensors)
      value.mutable_grad() = Tensor();
    e.seconds = stopwatch.seconds() * static_cast<double>(steps);
  }
  const auto parameters = static_cast<std::uint64_t>(e.parameters.total);
  e.memory_bytes = peak_rss_bytes() + (has_state ? 0 : kMomentBytes * parameters);
  return e;
}

Estimate dry_run(const Recipe& recipe, const kernels::Run& run) {
  const TrainingConfig& training = recipe.training;
  const checkpoint::ModelConfig config = config_of(recipe);
  Estimate e;
  e.steps = training.steps;
  e.tokens = training.steps * training.streams * config.context;
  e.parameters = model::count_parameters(config);
  e.memory_bytes = trained_bytes(e.parameters);
  if (e.memory_bytes > available_memory_bytes()) return e;
  const auto model = model::make_model(config);
  model::initialize(*model, static_cast<std::uint64_t>(training.seed));
  const Tensor ids = torch::arange(training.streams * config.context, torch::kInt64)
                         .remainder(config.vocab_size)
                         .view({training.streams, config.context});
  model::Pass pass;
  pass.run = run;
  pass.precision = training_precision(training, run);
  pass.train = true;
  return estimate(*model, ids, ids, pass, training.steps, false);
}

void check_memory(const Recipe& recipe) {
  const std::uint64_t needed = trained_bytes(model::count_parameters(config_of(recipe))),
                      there = available_memory_bytes();
  if (needed > there)
    throw Error(ErrorKind::config, concat("[model]: weights, gradients and moments take ",
                                          format_bytes(static_cast<double>(needed)), " of memory, ",
                                          format_bytes(static_cast<double>(there)),
                                          " are free; make the model smaller"))
        .at("model");
}

}  // namespace mote::train
