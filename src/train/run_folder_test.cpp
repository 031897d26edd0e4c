#include "train/run_folder.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/files.h"

namespace mote::train {
namespace {

class Run : public ::testing::Test {
 protected:
  Run() {
    folder_.file("train.txt", "some words to read");
    recipe_.data.train = (folder_.path() / "train.txt").string();
    recipe_.data.tokenizer = TokenizerKind::bytes;
    recipe_.training.keep_checkpoints = 2;
  }
  fs::path out() const { return folder_.path() / "out"; }
  RunFolder open(bool resume) { return RunFolder(recipe_, out(), resume, 1); }
  static void fill(const fs::path& folder, const std::string& text) {
    write_file(folder / "model.safetensors", text);
    write_file(folder / "training_state.safetensors", "state of " + text);
  }
  static void save(RunFolder& run, std::int64_t step) {
    run.save(step, [&](const fs::path& folder) { fill(folder, std::to_string(step)); });
  }
  bool has(std::int64_t step) const {
    return fs::exists(out() / "checkpoints" / ("step-" + std::to_string(step)));
  }
  test::TemporaryFolder folder_;
  Recipe recipe_;
};

TEST_F(Run, KeepsTheLatestAndTheBest) {
  RunFolder run = open(false);
  EXPECT_FALSE(run.latest());
  for (const std::int64_t step : {10, 20, 30, 40}) {
    save(run, step);
    if (step == 10) run.mark_best(step, 1.5);
  }
  EXPECT_TRUE(has(10)) << "the best";
  EXPECT_FALSE(has(20));
  EXPECT_TRUE(has(30) && has(40));
  EXPECT_EQ(run.latest()->filename(), "step-40");
  EXPECT_EQ(run.best()->valid_loss, 1.5);
  run.mark_best(40, 1.25);
  EXPECT_FALSE(has(10)) << "no longer the best";
}

TEST_F(Run, LinksTheTopLevelToTheNewest) {
  RunFolder run = open(false);
  save(run, 1);
  save(run, 2);
  EXPECT_EQ(read_file(out() / "model.safetensors"), "2");
  EXPECT_TRUE(fs::equivalent(out() / "model.safetensors",
                             out() / "checkpoints" / "step-2" / "model.safetensors"))
      << "one file, two names";
  EXPECT_FALSE(fs::exists(out() / "training_state.safetensors"));
}

TEST_F(Run, GoesOnFromWhatLatestNames) {
  {
    RunFolder run = open(false);
    save(run, 1);
  }
  // Killed before `latest` was written, and in the middle of a save.
  fs::create_directory(out() / "checkpoints" / "step-2");
  fill(out() / "checkpoints" / "step-2", "2");
  fs::create_directory(out() / "checkpoints" / ".step-3.tmp-17");
  RunFolder run = open(true);
  EXPECT_EQ(run.latest()->filename(), "step-1");
  EXPECT_FALSE(fs::exists(out() / "checkpoints" / ".step-3.tmp-17"));
  save(run, 2);
  EXPECT_EQ(run.latest()->filename(), "step-2");
  write_file(out() / "checkpoints" / "latest", "step-9\n");
  EXPECT_THROW(run.latest(), Error);
  write_file(out() / "checkpoints" / "latest", "../data\n");
  EXPECT_THROW(run.latest(), Error);
}

TEST_F(Run, TouchesNothingInAFolderThatIsNoRun) {
  fs::create_directory(out());
  folder_.file("out/.notes.tmp-2024", "mine");
  EXPECT_THROW(open(true), Error);
  EXPECT_THROW(open(false), Error);
  EXPECT_EQ(read_file(out() / ".notes.tmp-2024"), "mine");
  EXPECT_FALSE(fs::exists(out() / "recipe.toml"));
}

TEST_F(Run, RefusesAnotherRecipeByItsField) {
  { RunFolder run = open(false); }
  recipe_.training.steps = 7;
  try {
    open(true);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "training.steps");
  }
}

}  // namespace
}  // namespace mote::train
