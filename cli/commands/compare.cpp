#include <limits>

#include "base/file.h"
#include "base/process.h"
#include "base/version.h"
#include "bench/record.h"
#include "cli/command.h"
#include "cli/commit.h"
#include "compare/compare.h"
#include "report/resources.h"
#include "train/trainer.h"

namespace mote::cli {
namespace {

// As a shell reads it again.
std::string shell_word(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=:,+-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

class Compare final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("RECIPE", recipe_, "a TOML recipe of a comparison")
        ->required()
        ->check(not_empty());
    app.add_option("--out", out_,
                   "the comparison's folder (default: none, which --dry-run need not)")
        ->check(not_empty());
    seeds_ = app.add_option("--seeds", seed_count_, "runs of each model (default: the recipe's)")
                 ->check(from_to(1, 1000))
                 ->default_str("");
    app.add_flag("--resume", resume_, "go on with a comparison that was stopped, or to more seeds");
    app.add_option("--set", overrides_, "override a field of the recipe: key=value")
        ->allow_extra_args(false);
    app.add_option("--resources", resources_,
                   "rows that mote bench layers --json printed, to be drawn too; the folder keeps "
                   "them (default: those it has)")
        ->check(not_empty());
    app.add_flag("--dry-run", dry_run_, "only say what sizes, work and steps the models get");
  }

  Json run(const Context& context) override {
    if (out_.empty() && !dry_run_)
      throw Error(ErrorKind::usage, "--out is required (see mote compare --help)").at("--out");
    keep_freed_memory();
    std::vector<std::string> overrides = overrides_;
    constexpr std::uint64_t kMostSeed = std::numeric_limits<std::int64_t>::max() - 1000;
    if (context.seed > kMostSeed)
      throw Error(ErrorKind::usage, concat("--seed ", *context.seed,
                                           ": a comparison's first seed is at most ", kMostSeed))
          .at("--seed");
    if (context.seed) overrides.push_back(concat("training.seed=", *context.seed));
    if (seeds_->count() > 0) overrides.push_back(concat("seeds=", seed_count_));
    const compare::Comparison comparison = compare::load_comparison(recipe_, overrides);
    if (dry_run_) return sizes(comparison);
    std::optional<std::string> resources;
    if (!resources_.empty()) {
      resources = read_file(resources_);
      report::resource_rows(*resources, resources_);
    }
    const std::vector<Json> rows = compare::run_comparison(comparison, out_, resume_, resources,
                                                           machine(context), context.run);
    Json runs = Json::array();
    for (Json row : rows) {
      for (const char* key : {"recipe", "curve", "layers", "machine"}) row.erase(key);
      runs.push_back(row);
    }
    return {{"runs", runs}};
  }

 private:
  static Json sizes(const compare::Comparison& comparison) {
    Json list = Json::array();
    for (const compare::Model& model : comparison.models) {
      list.push_back({{"name", model.name},
                      {"parameters", model.parameters},
                      {"feed_forward", model.feed_forward},
                      {"feed_forward_active", model.feed_forward_active},
                      {"active_flops", model.work.forward_flops()},
                      {"training_flops", model.run_flops()},
                      {"steps", model.recipe.training.steps}});
      if (!model.solve.empty()) {
        list.back()["solved"] = model.solve;
        list.back()["value"] = compare::solved_value(model);
      }
    }
    return {{"match", to_json(comparison.match)}, {"models", list}};
  }

  Json machine(const Context& context) const {
    std::string command = "mote compare " + shell_word(recipe_) + " --out " + shell_word(out_);
    if (seeds_->count() > 0) command += concat(" --seeds ", seed_count_);
    if (context.seed) command += concat(" --seed ", *context.seed);
    for (const std::string& assignment : overrides_) command += " --set " + shell_word(assignment);
    if (!resources_.empty()) command += " --resources " + shell_word(resources_);
    if (const kernels::Isa ceiling = context.run.ceiling; ceiling != kernels::Run{}.ceiling)
      command += concat(" --isa ", kernels::family(ceiling));
    command += concat(" --threads ", context.threads);
    return {{"cpu", bench::cpu_name()},   {"isa", train::isa_of(context.run)},
            {"threads", context.threads}, {"version", version()},
            {"commit", commit()},         {"command", command}};
  }

  std::string recipe_, out_, resources_;
  int seed_count_ = 1;
  bool resume_ = false, dry_run_ = false;
  CLI::Option* seeds_ = nullptr;
  std::vector<std::string> overrides_;
};

}  // namespace

std::unique_ptr<Verb> make_compare() {
  return std::make_unique<Compare>();
}

}  // namespace mote::cli
