#include <iostream>
#include <sstream>

#include "base/file.h"
#include "base/process.h"
#include "cli/command.h"
#include "model/packed_weight.h"
#include "model/saved.h"
#include "run/evaluator.h"
#include "run/generator.h"
#include "text/utf8.h"

namespace mote::cli {
namespace {

class Generate final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "a model's folder, or its model.safetensors")->required();
    auto* prompt = app.add_option("-p,--prompt", prompt_, "the text to continue");
    app.add_option("--prompts", prompts_file_, "a file with one prompt per line")->excludes(prompt);
    app.add_option("-n,--predict", options_.new_tokens, "tokens to add")
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
    app.add_option("--temperature", options_.sampler.temperature,
                   "0: always the most probable token");
    app.add_option("--top-k", options_.sampler.top_k, "draw from the k most probable; 0: all");
    app.add_option("--top-p", options_.sampler.top_p, "draw from the most probable share");
    app.add_option("--min-p", options_.sampler.min_p,
                   "leave out what is less probable than this share of the first");
    app.add_option("--repeat-penalty", options_.sampler.repeat_penalty, "above 1: repeat less");
    app.add_option("--stop", options_.stop, "end before this text")->allow_extra_args(false);
    app.add_option("--ctx-size", context_size_,
                   "tokens that the end of a block sees (default: the model's)")
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
    activations_.add(app);
  }

  Json run(const Context& context) override {
    const std::vector<std::string> prompts = read_prompts();
    if (context.seed) options_.sampler.seed = *context.seed;
    run::validate(options_.sampler);
    const std::filesystem::path folder = model::find_model(model_);
    const auto model = model::load_model(folder, *context.run.executor);
    model::Pass pass = context.pass();
    pass.int8_activations = activations_.int8();
    if (pass.int8_activations) model::check_int8_activations(*model);
    const auto tokenizer = text::load_tokenizer(folder);
    options_.memory_tokens = run::memory_for_context(model->config(), context_size_);
    Json results = Json::array();
    for (const std::string& prompt : prompts) {
      if (!context.json) std::cout << prompt << std::flush;
      const auto emit = [&](const std::string& piece) {
        if (!context.json) std::cout << piece << std::flush;
      };
      const run::Generated g = run::generate(*model, *tokenizer, prompt, options_, pass, emit);
      if (!context.json) std::cout << std::endl;
      results.push_back(facts_of(g));
    }
    if (!context.json) return nullptr;
    return prompts_file_.empty() ? results[0] : Json{{"results", results}};
  }

 private:
  std::vector<std::string> read_prompts() const {
    if (prompts_file_.empty()) {
      if (text::valid_utf8_prefix(prompt_) != prompt_.size())
        throw Error(ErrorKind::usage, "-p: the prompt is not valid UTF-8; convert it first")
            .at("-p");
      return {prompt_};
    }
    std::vector<std::string> prompts;
    std::istringstream lines(read_file(prompts_file_));
    for (std::string line; std::getline(lines, line); prompts.push_back(line))
      if (text::valid_utf8_prefix(line) != line.size())
        throw Error(ErrorKind::file, concat(prompts_file_, ":", prompts.size() + 1,
                                            ": not valid UTF-8; convert the file first"))
            .in(prompts_file_);
    if (prompts.empty())
      throw Error(ErrorKind::file, prompts_file_ + ": holds no prompt").in(prompts_file_);
    return prompts;
  }

  static Json facts_of(const run::Generated& g) {
    const auto rate = [](std::int64_t count, double seconds) {
      return static_cast<double>(count) / seconds;
    };
    return {{"text", g.text},
            {"token_ids", g.ids},
            {"prompt_tokens", g.prompt_tokens},
            {"new_tokens", g.ids.size()},
            {"stop_reason", g.stop_reason},
            {"prompt_tokens_per_second", rate(g.prompt_tokens, g.prompt_seconds)},
            {"new_tokens_per_second", rate(static_cast<std::int64_t>(g.ids.size()), g.new_seconds)},
            {"peak_rss_bytes", peak_rss_bytes()}};
  }

  std::string model_, prompt_, prompts_file_;
  std::int64_t context_size_ = 0;
  ActivationsOption activations_;
  run::GenerateOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_generate() {
  return std::make_unique<Generate>();
}

}  // namespace mote::cli
