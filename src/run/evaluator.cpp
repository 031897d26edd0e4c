#include "run/evaluator.h"

#include "base/log.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "run/opened.h"

namespace mote::run {

std::int64_t memory_for_context(const checkpoint::ModelConfig& config, std::int64_t context) {
  if (context == 0 || checkpoint::sees_everything(config)) return -1;
  if (config.positions == checkpoint::Positions::learned && context != config.context)
    throw Error(ErrorKind::usage,
                concat("--ctx-size ", context, ": the model has a position of ",
                       "its own for each of ", config.context, " tokens; leave the flag out"))
        .at("--ctx-size");
  if (context < config.context)
    throw Error(ErrorKind::usage, concat("--ctx-size ", context, ": the model reads blocks of ",
                                         config.context, " tokens; give at least that"))
        .at("--ctx-size");
  return context - config.context;
}

namespace {

Evaluation evaluate_pairs(const model::Model& model, const text::Tokenizer& tokenizer,
                          const text::Corpus& corpus, const text::TextFormat& format,
                          std::int64_t context, const model::Pass& pass) {
  if (context != 0)
    throw Error(ErrorKind::usage,
                concat("--ctx-size ", context, ": an encoder-decoder reads sources of ",
                       model.config().encoder.context,
                       " tokens (encoder.context in its config.json); leave the "
                       "flag out"))
        .at("--ctx-size");
  const text::PairOptions options = model::pair_options(
      model.config(), format.target_key.empty() ? text::Task::span_corruption : text::Task::pairs);
  log::info(concat("scoring targets of ", enum_name(options.task)));
  const Stopwatch stopwatch;
  Evaluation result;
  result.loss = model::pairs_loss(model, tokenizer, corpus, options, pass,
                                  [](std::int64_t) { stop_if_interrupted(); });
  result.seconds = stopwatch.seconds();
  return result;
}

}  // namespace

Evaluation evaluate(const std::filesystem::path& model_folder, const std::string& corpus_name,
                    std::uint64_t max_bytes, std::int64_t context, const model::Pass& pass,
                    const text::TextFormat& format, std::int64_t streams) {
  const auto [model, tokenizer, bounds] = open_model(model_folder, pass);
  const auto corpus = text::open_corpus(corpus_name, max_bytes, format);
  if (checkpoint::reads_source(model->config()) && streams == 0)
    return evaluate_pairs(*model, *tokenizer, *corpus, format, context, pass);
  if (!format.target_key.empty())
    throw Error(ErrorKind::usage,
                "--target-key: the model has no encoder, and reads no sources; leave the flag out")
        .at("--target-key");
  log::Progress progress("evaluating", static_cast<std::int64_t>(corpus->bytes()), "bytes");
  model::CorpusLossOptions options;
  options.memory_tokens = memory_for_context(model->config(), context);
  if (checkpoint::sees_everything(model->config())) options.window = context;
  options.before = bounds.before;
  options.progress = [&](std::int64_t done) {
    progress.update(done);
    stop_if_interrupted();
  };
  const Stopwatch stopwatch;
  Evaluation result;
  result.loss = streams > 0 ? model::streams_loss(*model, *tokenizer, *corpus, streams,
                                                  options.memory_tokens, pass, options.progress)
                            : model::corpus_loss(*model, *tokenizer, *corpus, pass, options);
  result.seconds = stopwatch.seconds();
  progress.finish();
  return result;
}

}  // namespace mote::run
