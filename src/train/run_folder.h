// A run's folder: what is in it, and that nothing in it is ever half written or lost.
//
//   recipe.toml                 the resolved run, written with the first checkpoint
//   data/                       prepared tokens
//   metrics.jsonl
//   report.html                 curves of metrics.jsonl, written when training ends or is interrupted
//   checkpoints/step-N/         model and training_state.safetensors after N steps
//   checkpoints/latest          "step-N": what a run goes on from, written when that is whole
//   checkpoints/best            {"step", "valid_loss"}: the best by validation
//   config.json, model.safetensors, tokenizer.json, ...   of the latest, tensors as hard links
//   .run.lock                   while a process writes here (base/file_lock.h)
// The latest `keep_checkpoints` and the best are kept. A folder in which a run begins holds a
// checkpoint in the end or nothing: what a start that failed, or that was killed, left is removed.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "base/file_lock.h"
#include "text/corpus.h"
#include "text/tokenizer.h"
#include "train/recipe.h"

namespace mote::train {

namespace fs = std::filesystem;

class RunFolder {
 public:
  // Checks that the folder holds this run, or nothing (then it starts one), before anything in it
  // is touched, and locks it. Corpora that are needed are opened first, so that a missing one leaves
  // no folder behind; tokens are prepared where they are missing.
  RunFolder(const Recipe& recipe, const fs::path& folder, bool resume, int threads);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // Steps that the run in `folder` has done, 0 where there is none, by reading alone. Throws where
  // the constructor would, with `resume`.
  static std::int64_t steps_done(const Recipe& recipe, const fs::path& folder);

  const fs::path& path() const { return folder_; }
  // As given; a run that goes on keeps the model that it started from.
  const Recipe& recipe() const { return recipe_; }
  // Writes what of the recipe is new to a run that goes on, when its state was found sound. Where
  // the validation text changed, the best checkpoint is forgotten: its loss does not compare.
  void keep_recipe();
  fs::path data() const { return folder_ / "data"; }
  // Null: no evaluation is asked for.
  const text::Corpus* valid() const { return valid_.get(); }

  // The folder of the newest checkpoint; none: nothing was saved yet.
  std::optional<fs::path> latest() const;
  std::int64_t latest_step() const;  // where there is one
  fs::path checkpoint(std::int64_t steps_done) const;
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
  enum class Holds { nothing, start, run };
  static Holds look(const fs::path& folder, bool resume, bool killed);
  static Recipe recipe_in(const fs::path& folder, Recipe now);
  static std::optional<fs::path> latest_in(const fs::path& checkpoints);
  static std::optional<Best> best_in(const fs::path& checkpoints);
  void lock();
  void begin();
  void go_on();
  void clear_start();
  void drop_start();
  void remove_temporaries();
  void link_top_level(const fs::path& checkpoint) const;
  void prune() const;

  Recipe recipe_;
  const fs::path folder_;
  std::unique_ptr<text::Corpus> valid_;
  std::vector<fs::path> made_;  // folders that were not there, the deepest first
  std::unique_ptr<FileLock> lock_;
  bool same_valid_text_ = true;
  bool started_ = false;  // by this process, and nothing saved yet
};

}  // namespace mote::train
