#include "train/run_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "base/toml.h"
#include "tests/support/files.h"

namespace mote::train {
namespace {

class Run : public ::testing::Test {
 protected:
  Run() {
    folder_.file("train.txt", "some words to read");
    recipe_.data.train = (folder_.path() / "train.txt").string();
    recipe_.data.tokenizer = "bytes";
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
  std::string refusal(bool resume) {
    try {
      open(resume);
    } catch (const Error& error) {
      return error.what();
    }
    ADD_FAILURE() << "accepted";
    return "";
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
  folder_.file("out/.secrets.tmp-2024/key", "mine");
  refusal(true);
  refusal(false);
  EXPECT_EQ(read_file(out() / ".notes.tmp-2024"), "mine");
  EXPECT_EQ(read_file(out() / ".secrets.tmp-2024" / "key"), "mine");
  EXPECT_FALSE(fs::exists(out() / "recipe.toml") || fs::exists(out() / ".run.lock"));
}

TEST_F(Run, RemovesOnlyTemporariesOfItsOwnNames) {
  {
    RunFolder run = open(false);
    save(run, 1);
  }
  folder_.file("out/.notes.tmp-2024", "mine");
  folder_.file("out/checkpoints/.secrets.tmp-2024/key", "mine");
  folder_.file("out/.metrics.jsonl.tmp-7", "half");
  folder_.file("out/checkpoints/.step-3.tmp-7/model.safetensors", "half");
  folder_.file("out/checkpoints/.step-3.lock", "process 7");
  open(true);
  EXPECT_EQ(read_file(out() / ".notes.tmp-2024"), "mine");
  EXPECT_EQ(read_file(out() / "checkpoints" / ".secrets.tmp-2024" / "key"), "mine");
  EXPECT_FALSE(fs::exists(out() / ".metrics.jsonl.tmp-7"));
  EXPECT_FALSE(fs::exists(out() / "checkpoints" / ".step-3.tmp-7"));
  EXPECT_FALSE(fs::exists(out() / "checkpoints" / ".step-3.lock"));
}

TEST_F(Run, IsWrittenByOneProcessThatTheErrorNames) {
  RunFolder run = open(false);
  save(run, 1);
  folder_.file("out/checkpoints/.step-2.tmp-7", "of the process that writes here");
  EXPECT_NE(refusal(true).find(concat("is being written by process ", getpid())),
            std::string::npos);
  EXPECT_TRUE(fs::exists(out() / "checkpoints" / ".step-2.tmp-7"));
}

TEST_F(Run, ThatSavedNothingLeavesNothing) {
  { RunFolder run = open(false); }
  EXPECT_FALSE(fs::exists(out()));
  fs::create_directory(out());
  { RunFolder run = open(true); }
  EXPECT_TRUE(fs::is_empty(out())) << "a folder that was there stays";
}

// A kill leaves the lock and perhaps the tokens, but no checkpoint.
TEST_F(Run, ThatWasKilledBeforeItsFirstCheckpointDoesNotBlockACorrectedRecipe) {
  for (const bool resume : {false, true}) {
    folder_.file("out/.run.lock", "process 7");
    folder_.file("out/data/tokens.bin", "half");
    folder_.file("out/.data.tmp-7/tokens.bin", "half");
    folder_.file("out/metrics.jsonl", "{\"step\": 1}\n");
    recipe_.training.steps = 7 + resume;
    RunFolder run = open(resume);
    EXPECT_FALSE(fs::exists(out() / "metrics.jsonl") || fs::exists(out() / ".data.tmp-7"));
    EXPECT_TRUE(fs::exists(out() / "data" / "tokens.json"));
  }
  // The same names without the lock may be anyone's.
  folder_.file("out/recipe.toml", "mine");
  refusal(false);
  EXPECT_EQ(read_file(out() / "recipe.toml"), "mine");
}

// What a killed start never writes may be the user's own.
TEST_F(Run, KeepsARecipeAndDataOfTheUsersBesideTheLockOfAKilledProcess) {
  for (const char* mine : {"recipe.toml", "data/notes.txt", "data/tokens/mine"}) {
    folder_.file("out/.run.lock", "process 7");
    folder_.file(concat("out/", mine), "mine");
    refusal(false);
    EXPECT_EQ(read_file(out() / mine), "mine");
    fs::remove_all(out());
  }
}

TEST_F(Run, ThatGoesBackKeepsWhatItSavesAndWhatIsAhead) {
  recipe_.training.keep_checkpoints = 3;
  {
    RunFolder run = open(false);
    for (const int step : {1, 2, 5}) save(run, step);
  }
  write_file(out() / "checkpoints" / "latest", "step-1\n");
  recipe_.training.keep_checkpoints = 1;
  RunFolder run = open(true);
  save(run, 3);
  EXPECT_EQ(run.latest()->filename(), "step-3");
  EXPECT_TRUE(fs::exists(out() / "checkpoints" / "step-5"));
  EXPECT_FALSE(fs::exists(out() / "checkpoints" / "step-2"));
}

TEST_F(Run, IsNotBegunOverAModel) {
  {
    RunFolder run = open(false);
    save(run, 3);
  }
  fs::remove_all(out() / "checkpoints");
  EXPECT_NE(refusal(true).find("finished model without its training_state"), std::string::npos);
  EXPECT_EQ(read_file(out() / "model.safetensors"), "3");
}

TEST_F(Run, GoesOnOnlyWhereThereIsAState) {
  {
    RunFolder run = open(false);
    save(run, 3);
  }
  fs::remove(out() / "checkpoints" / "step-3" / "training_state.safetensors");
  EXPECT_NE(refusal(true).find("--from"), std::string::npos);
  fs::remove_all(out() / "checkpoints");
  folder_.file("out/config.json", "{}");
  EXPECT_NE(refusal(true).find("finished model without its training_state"), std::string::npos);
  EXPECT_EQ(read_file(out() / "model.safetensors"), "3");
  fs::remove(out() / "recipe.toml");
  EXPECT_NE(refusal(true).find("no recipe.toml"), std::string::npos);
}

TEST_F(Run, RefusesAnotherRecipeByItsFieldAndBothValues) {
  {
    RunFolder run = open(false);
    save(run, 1);
  }
  recipe_.training.seed = 7;
  try {
    open(true);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "training.seed");
    EXPECT_NE(std::string(error.what()).find("is 1 and the recipe given has 7"), std::string::npos)
        << error.what();
  }
}

TEST_F(Run, TakesWhatDoesNotChangeTheComputation) {
  recipe_.training.schedule_steps = 500;
  recipe_.training.steps = 100;
  recipe_.data.valid = recipe_.data.train;
  {
    RunFolder run = open(false);
    save(run, 1);
    run.mark_best(1, 2.5);
  }
  recipe_.training.steps = 200;
  recipe_.training.save_every = 3;
  recipe_.training.log_every = 4;
  recipe_.training.eval_every = 5;
  const auto best = [&] {
    RunFolder run = open(true);
    run.keep_recipe();
    return run.best();
  };
  EXPECT_TRUE(best());
  recipe_.data.valid_bytes = 5;
  EXPECT_FALSE(best()) << "losses of other text do not compare";
  const Recipe kept = recipe_from(read_toml((out() / "recipe.toml").string()), "recipe.toml");
  EXPECT_EQ(kept.training.steps, 200);
  EXPECT_EQ(kept.training.eval_every, 5);
}

TEST_F(Run, WhoseBestCannotBeReadIsRefusedBeforeItGoesOn) {
  {
    RunFolder run = open(false);
    save(run, 1);
  }
  for (const char* text :
       {"", "{\"step\": 1", "[1]", "{\"step\": 1}", "{\"step\": \"1\", \"valid_loss\": 2}",
        "{\"step\": 1, \"valid_loss\": null}"}) {
    folder_.file("out/checkpoints/best", text);
    const std::string said = refusal(true);
    EXPECT_NE(said.find("checkpoints/best: "), std::string::npos) << said;
    EXPECT_NE(said.find("remove it, and the next evaluation marks the best anew"),
              std::string::npos)
        << said;
    EXPECT_EQ(said.find("json.exception"), std::string::npos) << said;
  }
}

TEST_F(Run, ThatWasKilledBeforeItsFirstCheckpointWasNamedGoesOnFromIt) {
  {
    RunFolder run = open(false);
    save(run, 3);
  }
  fs::remove(out() / "checkpoints" / "latest");
  EXPECT_NE(refusal(true).find("no checkpoints/latest"), std::string::npos) << "nobody was killed";
  folder_.file("out/.run.lock", "process 7");
  RunFolder run = open(true);
  EXPECT_EQ(run.latest()->filename(), "step-3");
}

TEST_F(Run, WhoseFirstCheckpointFailsLeavesNothing) {
  {
    RunFolder run = open(false);
    EXPECT_THROW(run.save(1, [](const fs::path& folder) { read_file(folder / "missing"); }), Error);
    EXPECT_FALSE(fs::exists(out() / "recipe.toml"));
    // Where `latest` is to be written there is a folder.
    fs::create_directories(out() / "checkpoints" / "latest");
    EXPECT_THROW(save(run, 2), Error);
    fs::remove(out() / "checkpoints" / "latest");
  }
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(Run, TellsTheStepsDoneAndChangesNothing) {
  EXPECT_EQ(RunFolder::steps_done(recipe_, out()), 0);
  {
    RunFolder run = open(false);
    EXPECT_EQ(RunFolder::steps_done(recipe_, out()), 0) << "begun, nothing saved";
    save(run, 3);
  }
  EXPECT_EQ(RunFolder::steps_done(recipe_, out()), 3);
  EXPECT_FALSE(fs::exists(out() / ".run.lock"));
  recipe_.training.seed = 7;
  EXPECT_THROW(RunFolder::steps_done(recipe_, out()), Error);
}

TEST_F(Run, IsMadeWhereALinkPoints) {
  fs::create_directory(folder_.path() / "disk");
  fs::create_directory_symlink(folder_.path() / "disk" / "there", out());
  {
    RunFolder run = open(false);
    save(run, 1);
  }
  EXPECT_TRUE(fs::is_symlink(out()));
  EXPECT_TRUE(fs::exists(folder_.path() / "disk" / "there" / "checkpoints" / "latest"));
}

}  // namespace
}  // namespace mote::train
