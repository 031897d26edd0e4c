#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>

#include "base/counted.h"
#include "base/file.h"
#include "base/log.h"
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
    app.add_option("MODEL", model_, "a model's folder, or its model.safetensors")
        ->required()
        ->check(not_empty());
    auto* prompt = app.add_option("-p,--prompt", prompt_, "the text to continue (default: none)");
    auto* file =
        app.add_option(
               "-f,--file", prompt_file_,
               "a file with the text to continue, but for a line break at its end (default: none)")
            ->excludes(prompt)
            ->check(not_empty());
    app.add_option("--prompts", prompts_file_, "a file with one prompt per line (default: none)")
        ->excludes(prompt)
        ->excludes(file)
        ->check(not_empty());
    app.add_option("-n,--predict", options_.new_tokens, "tokens to add")
        ->check(from_to(std::int64_t{0}, kMostNumber));
    run::SamplerConfig& sampler = options_.sampler;
    app.add_option("--temperature,--temp", sampler.temperature, "0: always the most probable token")
        ->check(from_to(0.0, run::kMostTemperature));
    of_draws_ = {app.add_option("--top-k", sampler.top_k, "draw from the k most probable; 0: all")
                     ->check(from_to(std::int64_t{0}, run::kMostTopK)),
                 app.add_option("--top-p", sampler.top_p, "draw from the most probable share")
                     ->check(from_to(0.0, 1.0)),
                 app.add_option("--min-p", sampler.min_p,
                                "leave out what is less probable than this share of the first")
                     ->check(from_to(0.0, 1.0)),
                 app.get_option("--seed")};
    app.add_option("--repeat-penalty", sampler.repeat_penalty, "above 1: repeat less")
        ->check(from_to(1 / run::kMostPenalty, run::kMostPenalty));
    app.add_option("--stop", options_.stop, "end before this text")
        ->allow_extra_args(false)
        ->check(not_empty());
    add_context_size(app, context_size_);
    activations_.add(app);
  }

  Json run(const Context& context) override {
    if (options_.sampler.temperature == 0) warn_of_draws();
    for (const std::string& stop : options_.stop)  // what is said is UTF-8 and would never have it
      check_utf8(stop, ErrorKind::usage, "--stop", "");
    const std::vector<std::string> prompts = read_prompts();
    options_.sampler.seed = context.seed ? *context.seed : std::random_device()();
    const std::filesystem::path folder = model::find_model(model_);
    const auto model = model::load_model(folder, *context.run.executor);
    model::Pass pass = context.pass();
    pass.int8_activations = activations_.int8();
    if (pass.int8_activations) model::check_int8_activations(*model);
    for (const std::string& warning : checkpoint::causality_warnings(model->config()))
      log::warn(warning);
    const auto tokenizer = model::load_tokenizer(folder, model->config());
    options_.memory_tokens = run::memory_for_context(model->config(), context_size_);
    Json results = Json::array();
    for (const std::string& prompt : prompts) {
      // The prompt comes with the first text, so that nothing is printed where there is none.
      bool prompt_printed = context.json;
      const auto print = [&](const std::string& piece) {
        if (!prompt_printed) std::cout << prompt;
        prompt_printed = true;
        if (!context.json) std::cout << piece << std::flush;
      };
      const run::Generated g = run::generate(*model, *tokenizer, prompt, options_, pass, print);
      if (!context.json) print("\n");
      results.push_back(facts_of(g));
      log::info(timing(g, options_.sampler.seed));
    }
    if (!context.json) return nullptr;
    return prompts_file_.empty() ? results[0] : Json{{"results", results}};
  }

 private:
  static constexpr std::uint64_t kMostPromptBytes = 100'000'000;

  // Peers' command lines give them all, so that they are no misuse.
  void warn_of_draws() const {
    std::string given;
    for (const CLI::Option* option : of_draws_)
      if (option->count() > 0) given += (given.empty() ? "" : ", ") + option->get_name();
    if (!given.empty())
      log::warn(concat("--temperature 0 always takes the most probable token: no use is made of ",
                       given));
  }

  static void check_utf8(const std::string& text, ErrorKind kind, const std::string& place,
                         const std::string& file) {
    if (text::valid_utf8_prefix(text) == text.size()) return;
    Error error(kind, place + ": is not valid UTF-8; convert it first");
    throw file.empty() ? error.at(place) : error.in(file);
  }

  static void drop_line_break(std::string& line) {
    if (line.ends_with('\n')) line.pop_back();
    if (line.ends_with('\r')) line.pop_back();
  }

  std::vector<std::string> read_prompts() const {
    if (prompts_file_.empty() && prompt_file_.empty()) {
      check_utf8(prompt_, ErrorKind::usage, "-p", "");
      return {prompt_};
    }
    if (prompts_file_.empty()) {
      std::string prompt = read_file(prompt_file_, kMostPromptBytes);
      drop_line_break(prompt);
      check_utf8(prompt, ErrorKind::file, prompt_file_, prompt_file_);
      return {prompt};
    }
    std::vector<std::string> prompts;
    std::istringstream lines(read_file(prompts_file_, kMostPromptBytes));
    for (std::string line; std::getline(lines, line); prompts.push_back(line)) {
      drop_line_break(line);
      check_utf8(line, ErrorKind::file, concat(prompts_file_, ":", prompts.size() + 1),
                 prompts_file_);
    }
    if (prompts.empty())
      throw Error(ErrorKind::file, prompts_file_ + ": holds no prompt").in(prompts_file_);
    return prompts;
  }

  static double rate(std::int64_t count, double seconds) {
    return static_cast<double>(count) / seconds;
  }
  static std::string timing(const run::Generated& g, std::uint64_t seed) {
    const auto count = static_cast<std::int64_t>(g.ids.size());
    std::ostringstream line;
    line << std::fixed << std::setprecision(1) << counted(g.prompt_tokens, "token")
         << " of prompt at " << rate(g.prompt_tokens, g.prompt_seconds) << " a second, " << count
         << " new at " << rate(count, g.new_seconds) << "; seed " << seed;
    return line.str();
  }
  Json facts_of(const run::Generated& g) const {
    return {{"text", g.text},
            {"token_ids", g.ids},
            {"prompt_tokens", g.prompt_tokens},
            {"new_tokens", g.ids.size()},
            {"stop_reason", g.stop_reason},
            {"seed", options_.sampler.seed},
            {"prompt_tokens_per_second", rate(g.prompt_tokens, g.prompt_seconds)},
            {"new_tokens_per_second", rate(static_cast<std::int64_t>(g.ids.size()), g.new_seconds)},
            {"peak_rss_bytes", peak_rss_bytes()}};
  }

  std::string model_, prompt_, prompt_file_, prompts_file_;
  std::int64_t context_size_ = 0;
  ActivationsOption activations_;
  run::GenerateOptions options_;
  std::vector<const CLI::Option*> of_draws_;  // what only drawing tokens uses
};

}  // namespace

std::unique_ptr<Verb> make_generate() {
  return std::make_unique<Generate>();
}

}  // namespace mote::cli
