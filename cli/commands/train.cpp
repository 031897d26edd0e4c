#include <algorithm>
#include <cmath>
#include <limits>

#include "base/json_text.h"
#include "base/process.h"
#include "cli/command.h"
#include "train/estimate.h"
#include "train/trainer.h"

namespace mote::cli {
namespace {

Json counts(const model::ParameterCounts& p) {
  return {{"total", p.total},
          {"active", p.active},
          {"feed_forward", p.feed_forward},
          {"feed_forward_active", p.feed_forward_active}};
}

class Train final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("RECIPE", recipe_, "a TOML recipe")->check(not_empty());
    app.add_option("--out", out_,
                   "the run's folder (default: none, which --dry-run and --fields need not)")
        ->check(not_empty());
    app.add_flag("--resume", resume_, "go on with a run that was stopped, or to more steps");
    app.add_option("--from", from_,
                   "start from the weights and the tokenizer of this model (default: new ones)")
        ->check(not_empty());
    app.add_option("--set", overrides_, "override a field of the recipe: key=value")
        ->allow_extra_args(false);
    app.add_flag("--binary", binary_, "take files that are no text byte by byte");
    app.add_flag("--dry-run", dry_run_,
                 "only say how many parameters, memory and time it takes; with --resume, the steps "
                 "left of the run in --out");
    fields_ = app.add_option("--fields", prefix_,
                             "only list the recipe's fields that begin with this (default: all)")
                  ->expected(0, 1);
  }

  Json run(const Context& context) override {
    if (fields_->count() > 0) return list_fields(context.json);
    if (recipe_.empty())
      throw Error(ErrorKind::usage, "RECIPE is required (see mote train --help)");
    if (out_.empty() && (!dry_run_ || resume_))
      throw Error(ErrorKind::usage, "--out is required (see mote train --help)").at("--out");
    keep_freed_memory();  // activations of one step are those of the next
    constexpr std::uint64_t kMostSeed = std::numeric_limits<std::int64_t>::max();
    if (context.seed > kMostSeed)
      throw Error(ErrorKind::usage,
                  concat("--seed ", *context.seed, ": a recipe's seed is at most ", kMostSeed))
          .at("--seed");
    if (context.seed) overrides_.push_back(concat("training.seed=", *context.seed));
    if (!from_.empty()) overrides_.push_back(concat("training.from=", json_text(from_)));
    if (binary_) overrides_.push_back("data.binary=true");
    const train::Recipe recipe = train::load_recipe(recipe_, overrides_);
    if (!dry_run_) return fit(recipe, context);
    end_on_interrupt(context.json);
    return estimate(recipe, context);
  }

 private:
  Json list_fields(bool json) const {
    std::vector<FieldLine> lines;
    describe_fields(train::Recipe{}, "", lines);
    std::erase_if(lines, [&](const FieldLine& line) { return !line.key.starts_with(prefix_); });
    if (lines.empty())
      throw Error(ErrorKind::usage, concat("--fields ", prefix_,
                                           ": no field begins so; the tables "
                                           "are data, model and training"))
          .at("--fields");
    Json list = Json::array();
    for (const FieldLine& line : lines) {
      if (!json) std::cout << to_text(line) << "\n";
      list.push_back({{"name", line.key}, {"help", line.help}});
      if (line.value) list.back()["default"] = *line.value;
      if (!line.range.empty()) list.back()["range"] = line.range;
    }
    return json ? Json{{"fields", list}} : Json();
  }

  Json estimate(const train::Recipe& recipe, const Context& context) const {
    const train::Estimate e = train::dry_run(recipe, resume_ ? out_ : "", context.run);
    constexpr double kMostBytes = 1e18;
    Json facts = {{"steps", e.steps},
                  {"tokens", e.tokens},
                  {"memory_bytes", std::llround(std::min(e.memory_bytes, kMostBytes))}};
    if (e.seconds > 0) {
      facts["tokens_per_second"] = static_cast<double>(e.tokens) / e.seconds;
      facts["seconds"] = e.seconds;
    }
    facts["parameters"] = counts(e.parameters);
    return facts;
  }

  Json fit(const train::Recipe& recipe, const Context& context) const {
    const train::TrainResult r = train::train(recipe, out_, resume_, context.run);
    Json facts = {{"steps", r.steps}, {"tokens", r.tokens}};
    if (r.train_loss) facts["train_loss"] = *r.train_loss;
    if (r.valid_loss) facts["valid_loss"] = *r.valid_loss;
    if (r.valid_bits_per_byte) facts["valid_bits_per_byte"] = *r.valid_bits_per_byte;
    facts["tokens_per_second"] = r.tokens_per_second;
    facts["seconds"] = r.seconds;
    facts["peak_rss_bytes"] = peak_rss_bytes();
    facts["parameters"] = counts(r.parameters);
    return facts;
  }

  std::string recipe_, out_, from_, prefix_;
  bool resume_ = false, dry_run_ = false, binary_ = false;
  CLI::Option* fields_ = nullptr;
  std::vector<std::string> overrides_;
};

}  // namespace

std::unique_ptr<Verb> make_train() {
  return std::make_unique<Train>();
}

}  // namespace mote::cli
