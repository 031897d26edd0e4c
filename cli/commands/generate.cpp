#include <cmath>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "base/counted.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "cli/sampling_options.h"
#include "run/evaluator.h"
#include "run/generator.h"
#include "run/opened.h"

namespace mote::cli {
namespace {

class Generate final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_,
                   "a model's folder, its model.safetensors, a GGUF file, or pypi:NAME")
        ->required()
        ->check(not_empty());
    auto* prompt = app.add_option("-p,--prompt", prompt_, "the text to continue (default: none)");
    auto* file =
        app.add_option(
               "-f,--file", prompt_file_,
               "a file with the text to continue, but for a line break at its end (default: none)")
            ->excludes(prompt)
            ->check(not_empty());
    auto* prompts = app.add_option("--prompts", prompts_file_,
                                   "a file with one prompt per line (default: none)")
                        ->excludes(prompt)
                        ->excludes(file)
                        ->check(not_empty());
    app.add_option("--parallel", sampling_.options.at_once,
                   "prompts of --prompts that are continued side by side")
        ->needs(prompts)
        ->check(from_to(std::int64_t{1}, std::int64_t{1024}));
    sampling_.add(app);
    add_context_size(app, context_size_);
    activations_.add(app);
  }

  Json run(const Context& context) override {
    const std::vector<std::string> prompts = read_prompts();
    const std::filesystem::path folder = model::find_model(model_);
    model::Pass pass = context.pass();
    pass.int8_activations = activations_.int8();
    const auto [model, tokenizer, bounds] = run::open_model(folder, pass);
    sampling_.finish(context, tokenizer->vocab_size());
    run::GenerateOptions& options = sampling_.options;
    options.memory_tokens = run::memory_for_context(model->config(), context_size_);
    Json results = Json::array();
    // The prompt comes with the first text, so that nothing is printed where there is none. A source
    // is another text than its target.
    const bool print_prompts = !context.json && !checkpoint::reads_source(model->config());
    bool prompt_printed = false;
    const auto print = [&](const std::string& piece) {
      if (print_prompts && !prompt_printed) std::cout << prompts[results.size()];
      prompt_printed = true;
      if (!context.json) std::cout << piece << std::flush;
    };
    std::int64_t new_tokens = 0;
    const auto done = [&](const run::Generated& g) {
      print("\n");
      results.push_back(facts_of(g));
      prompt_printed = false;
      new_tokens += static_cast<std::int64_t>(g.ids.size());
      log::info(timing(g, options.sampler.seed));
    };
    const Stopwatch stopwatch;
    run::generate(*model, *tokenizer, bounds, prompts, options, pass, print, done);
    const double seconds = stopwatch.seconds();
    if (prompts.size() > 1)
      log::info(concat(counted(prompts.size(), "text"), " with ", counted(new_tokens, "new token"),
                       " in ", std::llround(1000 * seconds), " ms"));
    if (!context.json) return nullptr;
    if (prompts_file_.empty()) return results[0];
    return {{"results", results}, {"new_tokens", new_tokens}, {"seconds", seconds}};
  }

 private:
  static constexpr std::uint64_t kMostPromptBytes = 100'000'000;

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
            {"seed", sampling_.options.sampler.seed},
            {"prompt_tokens_per_second", rate(g.prompt_tokens, g.prompt_seconds)},
            {"new_tokens_per_second", rate(static_cast<std::int64_t>(g.ids.size()), g.new_seconds)},
            {"peak_rss_bytes", peak_rss_bytes()}};
  }

  std::string model_, prompt_, prompt_file_, prompts_file_;
  std::int64_t context_size_ = 0;
  ActivationsOption activations_;
  SamplingOptions sampling_;
};

}  // namespace

std::unique_ptr<Verb> make_generate() {
  return std::make_unique<Generate>();
}

}  // namespace mote::cli
