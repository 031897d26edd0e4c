#include "train/recipe.h"

#include "model/model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/check.h"
#include "tests/support/files.h"

namespace mote::train {
namespace {

namespace fs = std::filesystem;

TEST(Recipes, AllAreRead) {
  int found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(MOTE_SOURCE_DIR) / "recipes"))
    if (entry.path().extension() == ".toml" && entry.path().parent_path().filename() != "compare") {
      EXPECT_NO_THROW(load_recipe(entry.path().string(), {})) << entry.path();
      ++found;
    }
  EXPECT_GE(found, 15);
}

// specs/sparse-ffn 3.3, less the unused scalar per layer. E8 has 257 byte tokens here, the paper
// 205: 2 d + 1 parameters for each.
TEST(Recipes, PublishedOnesHaveThePublishedSizes) {
  const std::map<std::string, std::int64_t> totals = {
      {"enwik8-41m-dense", 41'234'721 + 52 * 1025 - 12},
      {"enwik8-41m-sigma-moe", 41'240'805 + 52 * 1025 - 12},
      {"wikitext103-47m-dense", 47'260'136 - 16},
      {"wikitext103-47m-sigma-moe", 47'260'248 - 16},
      {"wikitext103-237m-dense", 237'696'536 - 16},
      {"wikitext103-237m-sigma-moe", 237'004'376 - 16},
      {"wikitext103-262m-dense", 262'479'968 - 18},
      {"wikitext103-262m-sigma-moe", 262'461'284 - 18},
      // As sigma-MoE; with 4 experts of 512 for 16 of 128 the router has 12 rows less.
      {"wikitext103-47m-s-base", 47'260'248 - 16},
      {"wikitext103-47m-switch", 47'260'248 - 16 - 16 * 12 * 412},
      // Experts, attention with its relative positions, norms; the routers of specs/related 2; tokens.
      {"enwik8-36m-rmoe", 8 * (2 * 16 * 352 * 352 + 5 * 352 * 352 + 6 * 352 + 1) + 475'904 +
                              257 * (2 * 352 + 1) + 2 * 352},
      {"c4-47m-dense", 47'260'136 - 16},
      {"c4-47m-sigma-moe", 47'260'248 - 16},
      {"c4-262m-dense", 262'479'968 - 18},
      {"c4-262m-sigma-moe", 262'461'284 - 18}};
  for (const auto& entry :
       fs::directory_iterator(fs::path(MOTE_SOURCE_DIR) / "recipes" / "published")) {
    const Recipe recipe = load_recipe(entry.path().string(), {});
    checkpoint::ModelConfig config = recipe.model;
    config.vocab_size = recipe.data.tokenizer == "bytes" ? 257 : recipe.data.vocab_size;
    const auto total = totals.find(entry.path().stem().string());
    ASSERT_NE(total, totals.end()) << entry.path();
    EXPECT_EQ(model::count_parameters(config).total, total->second) << entry.path();
  }
}

TEST(Recipes, ShippedOnesNameCostAndResult) {
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(MOTE_SOURCE_DIR) / "recipes")) {
    if (entry.path().extension() != ".toml") continue;
    std::ifstream in(entry.path());
    std::string header;
    for (std::string line; std::getline(in, line) && line.starts_with('#');) header += line + "\n";
    EXPECT_NE(header.find("# Cost: "), std::string::npos) << entry.path();
    EXPECT_NE(header.find("# Expect: "), std::string::npos) << entry.path();
  }
}

class RecipeFile : public ::testing::Test {
 protected:
  std::string refusal(const std::vector<std::string>& overrides) {
    try {
      load_recipe(path_, overrides);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  test::TemporaryFolder folder_;
  const std::string path_ = folder_.file("r.toml", "version = 2\n[data]\ntrain = \"x\"\n").string();
};

TEST_F(RecipeFile, RefusesDecaysAndEpsilonsThatMakeNoNumbers) {
  EXPECT_NE(refusal({"training.beta1=1"}).find("'training.beta1' is 1, outside"),
            std::string::npos);
  EXPECT_NE(refusal({"training.beta2=1"}).find("'training.beta2' is 1, outside"),
            std::string::npos);
  EXPECT_NE(refusal({"training.beta2=-0.5"}).find("'training.beta2' is -0.5, outside"),
            std::string::npos);
  for (const char* epsilon : {"0", "1e-50", "1e+39"})
    EXPECT_NE(refusal({concat("training.epsilon=", epsilon)})
                  .find(concat("'training.epsilon' is ", epsilon, ", outside 1e-37 to 1e+38")),
              std::string::npos);
  EXPECT_EQ(refusal({"training.beta1=0", "training.beta2=0.999999", "training.epsilon=1e-30"}),
            "accepted");
}

TEST_F(RecipeFile, BlamesTheOverrideForWhatItBroke) {
  EXPECT_EQ(refusal({"model.dim=64", "training.steps=0"}),
            "--set training.steps=0: 'training.steps' is 0, outside 1 or more");
  EXPECT_TRUE(refusal({"model.dmi=3"}).starts_with("--set model.dmi=3: "));
  EXPECT_TRUE(
      refusal({"training.schedule_steps=5"}).starts_with("--set training.schedule_steps=5: "));
  folder_.file("r.toml", "version = 2\ndata.train = \"x\"\ntraining.schedule_steps = 2000\n");
  EXPECT_TRUE(refusal({"training.steps=3000"}).starts_with("--set training.steps=3000: "))
      << "the field that complains is another one";
  folder_.file("r.toml", "version = 2\nbroken = 1\n");
  EXPECT_TRUE(refusal({"training.steps=3000"}).starts_with(path_)) << "the recipe's own fault";
}

TEST_F(RecipeFile, NamesFilesSoThatTheyMeanTheSameFromAnyFolder) {
  const fs::path before = fs::current_path();
  folder_.file("my.txt", "words");
  folder_.file("tokens/tokenizer.json", "{}");
  fs::current_path(folder_.path());
  const Recipe recipe = load_recipe(path_, {"data.train=my.txt:train", "data.valid=kjv:valid",
                                            "data.tokenizer=tokens", "training.from=./tokens"});
  const Recipe missing = load_recipe(path_, {"data.train=gone.txt"});
  fs::current_path(before);
  const std::string folder = fs::canonical(folder_.path()).string();
  EXPECT_EQ(recipe.data.train, folder + "/my.txt:train");
  EXPECT_EQ(recipe.data.valid, "kjv:valid");
  EXPECT_EQ(recipe.data.tokenizer, folder + "/tokens");
  EXPECT_EQ(recipe.training.from, folder + "/tokens");
  EXPECT_EQ(missing.data.train, "gone.txt") << "so that the error names what was given";
}

// recipe.toml could not be read again.
TEST_F(RecipeFile, RefusesNamesThatAreNotUtf8) {
  for (const char* key : {"data.train", "data.valid", "data.tokenizer", "data.text_key"}) {
    const std::string said = refusal({concat(key, "=caf\xE9.txt")});
    EXPECT_NE(said.find(concat("'", key, "' is ")), std::string::npos) << said;
    EXPECT_NE(said.find("not UTF-8"), std::string::npos) << said;
  }
}

TEST(Recipes, DifferInWhatChangesTheComputation) {
  Recipe a;
  a.training.schedule_steps = a.training.steps;
  Recipe b = a;
  b.training.steps = 500;
  b.training.eval_every = b.training.save_every = b.training.log_every = 7;
  b.data.valid = "other";
  EXPECT_EQ(changed_computation(a, b), "");
  b.training.schedule_steps = 0;
  EXPECT_EQ(changed_computation(a, b), "training.schedule_steps");
  a.training.schedule_steps = 0;
  EXPECT_EQ(changed_computation(a, b), "training.steps");
  b = a;
  b.training.seed = 5;
  EXPECT_EQ(changed_computation(a, b), "training.seed");
}

}  // namespace
}  // namespace mote::train
