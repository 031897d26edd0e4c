// A run's folder: what is in it, and that nothing in it is ever half written or lost.
//
//   recipe.toml                 the resolved run
//   data/                       prepared tokens
//   metrics.jsonl
//   checkpoints/step-N/         model and training_state.safetensors after N steps, each tensor
//   once checkpoints/latest          "step-N": what a run goes on from, written when that folder is
//   whole checkpoints/best            {"step", "valid_loss"}: the best by validation config.json,
//   model.safetensors, tokenizer.json, ...   of the latest, tensors as hard links
// The latest `keep_checkpoints` and the best are kept.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "text/corpus.h"
#include "text/tokenizer.h"
#include "train/recipe.h"

namespace mote::train {

namespace fs = std::filesystem;

class RunFolder {
 public:
  // Checks that the folder holds this run, or nothing (then it starts one), before anything in it
  // is touched. Corpora that are needed are opened first, so that a missing one leaves no folder
  // behind; tokens are prepared where they are missing.
  RunFolder(const Recipe& recipe, fs::path folder, bool resume, int threads);

  const fs::path& path() const { return folder_; }
  fs::path data() const { return folder_ / "data"; }
  // Null: no evaluation is asked for.
  const text::Corpus* valid() const { return valid_.get(); }

  // The folder of the newest checkpoint; none: nothing was saved yet.
  std::optional<fs::path> latest() const;
  // The best checkpoint by validation; none: nothing was marked yet.
  struct Best {
    std::int64_t step = 0;
    double valid_loss = 0;
  };
  std::optional<Best> best() const;

  // Makes checkpoints/step-N by `fill`, names it the latest, links the top level to it and removes
  // what is not kept.
  void save(std::int64_t steps_done, const std::function<void(const fs::path& folder)>& fill);
  // Marks a saved step as the best so far.
  void mark_best(std::int64_t steps_done, double valid_loss);

 private:
  fs::path checkpoints() const { return folder_ / "checkpoints"; }
  void settle_recipe(const Recipe& recipe);
  void link_top_level(const fs::path& checkpoint) const;
  void prune() const;

  const fs::path folder_;
  const std::int64_t keep_;
  std::unique_ptr<text::Corpus> valid_;
};

}  // namespace mote::train
