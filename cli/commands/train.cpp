#include "base/process.h"
#include "cli/command.h"
#include "train/trainer.h"

namespace mote::cli {
namespace {

class Train final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("RECIPE", recipe_, "a TOML recipe")->required();
    app.add_option("--out", out_, "the run's folder")->required();
    app.add_flag("--resume", resume_, "go on with a run that was stopped");
    app.add_option("--set", overrides_, "override a field of the recipe: key=value")
        ->allow_extra_args(false);
  }

  Json run(const Context& context) override {
    keep_freed_memory();  // activations of one step are those of the next
    if (context.seed) overrides_.push_back(concat("training.seed=", *context.seed));
    const train::Recipe recipe = train::load_recipe(recipe_, overrides_);
    const train::TrainResult r = train::train(recipe, out_, resume_, context.run);
    Json facts = {{"steps", r.steps}, {"tokens", r.tokens}};
    if (r.train_loss) facts["train_loss"] = *r.train_loss;
    if (r.valid_loss) facts["valid_loss"] = *r.valid_loss;
    if (r.valid_bits_per_byte) facts["valid_bits_per_byte"] = *r.valid_bits_per_byte;
    facts["tokens_per_second"] = r.tokens_per_second;
    facts["seconds"] = r.seconds;
    facts["peak_rss_bytes"] = peak_rss_bytes();
    facts["parameters"] = {{"total", r.parameters.total},
                           {"active", r.parameters.active},
                           {"feed_forward", r.parameters.feed_forward},
                           {"feed_forward_active", r.parameters.feed_forward_active}};
    return facts;
  }

 private:
  std::string recipe_, out_;
  bool resume_ = false;
  std::vector<std::string> overrides_;
};

}  // namespace

std::unique_ptr<Verb> make_train() {
  return std::make_unique<Train>();
}

}  // namespace mote::cli
