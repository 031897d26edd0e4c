#include "compress/compressor.h"

#include <map>

#include "base/counted.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "compress/block_compressor.h"
#include "compress/own_text.h"
#include "model/encoder_decoder.h"
#include "model/loss.h"
#include "model/nonfinite.h"
#include "model/saved.h"

namespace mote::compress {
namespace {

namespace fs = std::filesystem;

// What was packed, added up.
class Totals {
 public:
  void add(const std::vector<BlockCompressor::Compressed>& block) {
    std::map<std::string, std::vector<char>> calibrated;  // per bank, per expert
    for (const auto& [name, result] : block) {
      const model::WeightShape& shape = result.weight->shape();
      weights_ += shape.count(), bits_ += result.weight->bits();
      zeros_ += result.zeros, entropy_bits_ += result.entropy_bits;
      ++matrices_;
      if (!shape.stacked) continue;
      expert_weights_ += shape.count(), expert_bits_ += result.weight->bits();
      auto& bank = calibrated[name.substr(0, name.rfind('.'))];
      bank.resize(static_cast<std::size_t>(shape.experts), 1);
      for (std::size_t e = 0; e < bank.size(); ++e) bank[e] &= result.calibrated_E[e];
    }
    for (const auto& [bank, experts] : calibrated)
      for (const char each : experts) ++experts_, calibrated_ += each;
  }

  void report(CompressReport& r) const {
    const auto per = [](double sum, std::int64_t count) {
      return count ? sum / static_cast<double>(count) : 0;
    };
    r.expert_bits_per_weight = per(static_cast<double>(expert_bits_), expert_weights_);
    r.bits_per_weight = per(static_cast<double>(bits_), weights_);
    r.entropy_bits_per_weight = per(entropy_bits_, weights_);
    r.zeros = per(static_cast<double>(zeros_), weights_);
    r.matrices = matrices_, r.experts = experts_, r.calibrated = calibrated_;
  }

 private:
  std::int64_t weights_ = 0, expert_weights_ = 0, zeros_ = 0, matrices_ = 0;
  std::uint64_t bits_ = 0, expert_bits_ = 0;
  double entropy_bits_ = 0;
  std::int64_t experts_ = 0, calibrated_ = 0;
};

Part part_of_block(model::Model& model, model::Stack& stack, std::int64_t i) {
  // One cache for all samples: its table of relative positions is made once. An encoder has none.
  const bool decoder = &stack == model.stacks().back();
  const auto cache = decoder ? std::make_shared<model::Cache>(model.make_cache())
                             : std::shared_ptr<model::Cache>();
  return {[&stack, i, cache](const Sample& before, const model::Pass& pass) {
            model::ForwardState state(pass);
            if (cache) {
              cache->reset();
              state.caches = {cache.get()};
            }
            state.ids_BT = before.ids_1T;
            state.router_state = before.router_state;
            state.source_BSD = before.source_1SD;
            stack.prepare(state);
            Sample after = before;
            after.x_1TD = stack.block(i).forward(before.x_1TD, state);
            after.router_state = state.router_state;
            return after;
          },
          [&stack, i](model::ParameterVisitor& visitor) { stack.visit_block(i, visitor); }};
}

// The output layer, which sees the normed residual stream and hands on nothing.
Part part_of_head(model::Model& model, model::Stack& stack) {
  class HeadOnly final : public model::ParameterVisitor {
   public:
    explicit HeadOnly(model::ParameterVisitor& inner) : inner_(inner) {}
    void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
      if (!p.name.starts_with("blocks.") && !p.name.starts_with("encoder."))
        inner_.matrix(p, weight);
    }
    void tensor(const model::Parameter&, Tensor&) override {}

   private:
    model::ParameterVisitor& inner_;
  };
  return {[&](const Sample& before, const model::Pass& pass) {
            model.logits(stack.final_norm(before.x_1TD, pass), pass);
            return before;
          },
          [&](model::ParameterVisitor& visitor) {
            HeadOnly head(visitor);
            model.visit(head);
          }};
}

// One model's weights, stack by stack.
class ModelCompressor {
 public:
  ModelCompressor(model::Model& model, const CompressOptions& options, const model::Pass& pass)
      : model_(model), choice_(options.layers), compressor_(options, pass), pass_(pass) {}

  void compress(const std::vector<SampleText>& texts, CompressReport& report) {
    const std::int64_t dim = model_.config().dim;
    Samples samples(texts, Samples::Side::text, dim, [&](const Tensor& ids_1T) {
      model::ForwardState state(pass_);
      return model_.embed(ids_1T, state);
    });
    report.calibration_tokens = samples.tokens();
    if (auto* both = dynamic_cast<model::EncoderDecoder*>(&model_)) {
      Samples sources(texts, Samples::Side::source, dim, [&](const Tensor& ids_1S) {
        model::ForwardState state(pass_);
        return both->embed_source(ids_1S, state);
      });
      report.calibration_tokens += sources.tokens();
      model::Stack& encoder = *model_.stacks().front();
      blocks(encoder, "compressing the encoder", sources);
      for (std::size_t i = 0; i < samples.each().size(); ++i)
        samples.each()[i].source_1SD = encoder.final_norm(sources.each()[i].x_1TD, pass_);
    }
    model::Stack& decoder = *model_.stacks().back();
    blocks(decoder, "compressing", samples);
    const Part head = part_of_head(model_, decoder);
    TargetCollector in_head(choice_);
    head.visit(in_head);
    if (!in_head.found.empty()) totals_.add(compressor_.compress(head, choice_, samples));
    totals_.report(report);
  }

 private:
  void blocks(model::Stack& stack, const char* what, Samples& samples) {
    log::Progress progress(what, stack.size(), "blocks");
    for (std::int64_t i = 0; i < stack.size(); ++i) {
      stop_if_interrupted();
      totals_.add(compressor_.compress(part_of_block(model_, stack, i), choice_, samples));
      if (!samples.finite())
        model::throw_nonfinite(model_, concat("the calibration text after block ", i, " of ",
                                              stack.size(), ", counted from 0, is not finite"));
      progress.update(i + 1);
    }
    progress.finish();
  }

  model::Model& model_;
  const Choice choice_;
  const BlockCompressor compressor_;
  const model::Pass pass_;
  Totals totals_;
};

// A corpus, and who asked for it.
struct Source {
  std::string corpus, flag, recipe;  // recipe: empty, or the file that names it
  text::TextFormat format;
  std::unique_ptr<text::Corpus> open(std::uint64_t max_bytes = 0) const {
    if (recipe.empty()) return text::open_corpus(corpus, max_bytes, format);
    try {
      return text::open_corpus(corpus, max_bytes, format);
    } catch (const Error& error) {
      throw Error(error.kind(), concat(recipe, " names the model's own text: ", error.what(),
                                       "; or give another by ", flag))
          .in(recipe);
    }
  }
};

// What is read for the options, the model's own text by default.
struct Sources {
  Source calibration, validation;
  std::uint64_t validation_bytes = 0;
  // Of encoder-decoders: as it was trained, else span corruption, or pairs where --target-key is given.
  text::Task task = text::Task::span_corruption;
  text::SpanConfig spans = {};

  text::PairOptions pairs(const checkpoint::ModelConfig& model) const {
    return model::pair_options(model, task, spans);
  }
};

Sources sources_for(const fs::path& model_folder, const CompressOptions& options) {
  constexpr std::uint64_t kValidationBytes = 300'000;
  const std::string train = ":train";
  const OwnText own = own_text(model_folder).value_or(OwnText{});
  const auto source = [&](const char* flag, const std::string& given, const std::string& of_model) {
    return given.empty() && !of_model.empty()
               ? Source{of_model, flag, own.recipe.string(), own.format}
               : Source{given, flag, "", options.format};
  };
  Sources sources{source("--calibration", options.calibration, own.train),
                  source("--validation", options.validation, own.valid),
                  options.validation_bytes.value_or(kValidationBytes),
                  !options.format.target_key.empty() ||
                          (own.task == text::Task::pairs && options.calibration.empty())
                      ? text::Task::pairs
                      : text::Task::span_corruption,
                  own.spans};
  Source &calibration = sources.calibration, &validation = sources.validation;
  if (calibration.corpus.empty()) calibration.corpus = "gcide" + train;
  if (validation.corpus.empty() && calibration.corpus.ends_with(train)) {
    validation.recipe = calibration.recipe, validation.format = calibration.format;
    validation.corpus = calibration.corpus;
    validation.corpus.replace(validation.corpus.size() - train.size(), train.size(), ":valid");
  }
  if (validation.corpus.empty() && options.validation_bytes)
    throw Error(ErrorKind::usage,
                "--validation-bytes: there is no text to score; name one by --validation")
        .at("--validation-bytes");
  if (!own.valid.empty() && validation.corpus == own.valid && !options.validation_bytes)
    sources.validation_bytes = own.valid_bytes;
  return sources;
}

// What the result depends on beside samples and seed, as the command line spells it.
std::string options_text(const CompressOptions& options) {
  const MethodOptions& m = options.rounding;
  std::string text = concat("--damping ", m.damping);
  if (m.act_order) text += " --act-order";
  if (m.search_clip) text += " --search-clip";
  if (options.true_sequential) text += " --true-sequential";
  if (options.match_outputs) text += " --match-outputs";
  if (options.count_special) text += " --count-special";
  if (options.layers != "experts") text += " --layers " + options.layers;
  return text;
}

void tell_calibration(const CompressReport& report, const std::vector<SampleText>& samples,
                      const CompressOptions& options) {
  std::size_t tokens = 0;
  for (const SampleText& sample : samples) tokens += sample.ids.size() + sample.source.size();
  const std::string what =
      concat("calibrating on ", report.calibration, ": ", counted(report.samples, "sample"), ", ",
             counted(tokens, "token"));
  if (report.samples == options.samples)
    log::info(what);
  else
    log::warn(
        concat(what, ", of ", counted(options.samples, "sample"), " asked for; give more text"));
}

}  // namespace

CompressReport compress(const fs::path& source, const fs::path& target,
                        const CompressOptions& options, const model::Pass& pass) {
  const torch::NoGradGuard no_grad;
  const Stopwatch stopwatch;
  StagedFolder staged(target);
  const model::SavedConfig saved = model::load_config(source);
  if (saved.quantization)
    throw Error(ErrorKind::unsupported,
                concat(source.string(), ": is compressed already (", saved.quantization->bits,
                       "); compress the model it was made from"))
        .in(source.string());
  const auto model = model::load_model(source, *pass.run.executor);
  check_choice(*model, Choice(options.layers));
  if (checkpoint::reads_source(saved.model) && options.match_outputs && !options.count_special)
    throw Error(ErrorKind::usage,
                "--match-outputs: refits an encoder-decoder to all rows of its samples; give "
                "--count-special with it, so that rounding is by the same rows")
        .at("--match-outputs");
  for (const std::string& warning : checkpoint::causality_warnings(saved.model)) log::warn(warning);
  const auto tokenizer = model::load_tokenizer(source, saved.model);
  const model::TextBounds bounds = model::load_text_bounds(source, *tokenizer);
  model::check_finite(*model, concat(source.string(), ": cannot be compressed"));
  const Sources sources = sources_for(source, options);
  CompressReport report;
  report.parameters = model::count_parameters(*model).total;
  const bool wants_text = options.method != MethodKind::rtn;
  SampleOptions sampling;
  sampling.samples = options.samples;
  sampling.seed = options.seed;
  sampling.before = bounds.before;
  sampling.length =
      std::clamp<std::int64_t>(checkpoint::most_positions(saved.model) - 1, 1, sampling.length);
  std::vector<SampleText> samples;
  const bool reads_source = checkpoint::reads_source(saved.model);
  if (wants_text) {
    const auto text = sources.calibration.open();
    samples = reads_source ? draw_pairs(*text, *tokenizer, sampling, sources.pairs(saved.model),
                                        options.count_special)
                           : draw_samples(*text, *tokenizer, sampling);
    report.calibration = sources.calibration.corpus;
    report.samples = static_cast<std::int64_t>(samples.size());
    tell_calibration(report, samples, options);
  }
  std::unique_ptr<text::Corpus> validation;
  if (!sources.validation.corpus.empty()) {
    validation = sources.validation.open(sources.validation_bytes);
    report.validation = sources.validation.corpus;
    report.validation_bytes = static_cast<std::int64_t>(validation->bytes());
    log::info(concat("validating on ", report.validation, ", ",
                     counted(report.validation_bytes, "byte")));
  }
  const auto loss = [&] {
    if (reads_source)
      return model::pairs_loss(*model, *tokenizer, *validation, sources.pairs(saved.model), pass,
                               [](std::int64_t) { stop_if_interrupted(); })
          .mean();
    model::CorpusLossOptions stop;
    stop.before = bounds.before;
    stop.progress = [](std::int64_t) { stop_if_interrupted(); };
    return model::corpus_loss(*model, *tokenizer, *validation, pass, stop).mean();
  };
  const double loss_before = validation ? loss() : 0;

  ModelCompressor(*model, options, pass).compress(samples, report);
  report.validated = validation != nullptr;
  report.loss_before = loss_before;
  if (report.validated) report.loss_after = loss();

  checkpoint::Quantization q;
  q.bits = enum_name(options.rounding.bits);
  q.method = enum_name(options.method);
  q.made_from = {model::model_hash(source),
                 wants_text ? options_text(options) : "",
                 report.calibration,
                 report.samples,
                 report.calibration_tokens,
                 static_cast<std::int64_t>(options.seed),
                 report.expert_bits_per_weight,
                 report.validation,
                 report.validation_bytes,
                 report.loss_before,
                 report.loss_after};
  model::save_model(*model, staged.path(), q);
  model::save_tokenizer(*tokenizer, bounds, staged.path());
  if (const auto chat = model::load_chat_template(source))
    write_file(staged.path() / text::kChatTemplateFile, chat->source());
  report.bytes_before = model::model_bytes(source);
  report.bytes_after = model::model_bytes(staged.path());
  staged.commit();
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace mote::compress
