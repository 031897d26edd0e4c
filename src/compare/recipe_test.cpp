#include "compare/recipe.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/file.h"
#include "base/toml.h"
#include "model/model.h"
#include "tests/support/files.h"

namespace mote::compare {
namespace {

constexpr const char* kCommon = R"(
[data]
train = "kjv:train"
valid = "kjv:valid"
tokenizer = "bytes"
[model]
layers = 3
dim = 32
context = 16
attention = { kind = "transformer_xl", heads = 2, head_dim = 16 }
feed_forward = { kind = "dense", width = 1024 }
[training]
steps = 50
streams = 2
[[models]]
name = "dense"
)";

class ComparisonRecipe : public ::testing::Test {
 protected:
  Comparison load(const std::string& top, const std::string& models,
                  const std::vector<std::string>& overrides = {}) {
    write_file(path_, top + kCommon + models);
    return load_comparison(path_.string(), overrides);
  }
  // The message that it is refused with.
  std::string refusal(const std::string& top, const std::string& models) {
    try {
      load(top, models);
    } catch (const Error& error) {
      EXPECT_EQ(error.file(), path_.string());
      return error.what();
    }
    ADD_FAILURE() << "not refused";
    return "";
  }
  test::TemporaryFolder folder_;
  const fs::path path_ = folder_.path() / "recipe.toml";
};

constexpr const char* kMixture = R"(
[[models]]
name = "mixture"
solve = "feed_forward.expert_width"
model.feed_forward = { kind = "mixture", experts = 8, router = { experts_per_token = 2 } }
)";
constexpr const char* kPeer = R"(
[[models]]
name = "peer"
solve = "rules.0.feed_forward.experts"
[[models.model.rules]]
layers = "middle"
feed_forward = { kind = "peer", router = { heads = 2, experts_per_head = 4, query = { kind = "linear", key_dim = 16 } } }
)";

TEST_F(ComparisonRecipe, EqualParametersAreSolvedForWithinATolerance) {
  const Comparison c = load("", concat(kMixture, kPeer));
  ASSERT_EQ(c.models.size(), 3u);
  for (const Model& model : c.models) {
    checkpoint::ModelConfig config = model.recipe.model;
    config.vocab_size = 257;
    const auto counted = static_cast<double>(model::count_parameters(config).total);
    EXPECT_NEAR(counted, static_cast<double>(c.base().parameters),
                kTolerance * static_cast<double>(c.base().parameters))
        << model.name;
    EXPECT_EQ(counted, static_cast<double>(model.parameters));
  }
  const std::int64_t experts = solved_value(c.models[2]),
                     root = std::llround(std::sqrt(static_cast<double>(experts)));
  EXPECT_EQ(root * root, experts) << "product keys need a square";
}

TEST_F(ComparisonRecipe, TheNearestSizeIsTaken) {
  const Comparison c = load("", kMixture);
  const std::int64_t width = solved_value(c.models[1]);
  const auto off = [&](std::int64_t value) {
    checkpoint::ModelConfig config = c.models[1].recipe.model;
    config.vocab_size = 257;
    config.feed_forward.get_if<checkpoint::Mixture>()->expert_width = value;
    return std::abs(model::count_parameters(config).total - c.base().parameters);
  };
  EXPECT_LE(off(width), off(width - 1));
  EXPECT_LE(off(width), off(width + 1));
}

TEST_F(ComparisonRecipe, EqualActiveFlopsAreSolvedForWithinATolerance) {
  const Comparison c = load("match = \"active_flops\"\n", kMixture);
  EXPECT_NEAR(c.models[1].work.forward_flops() / c.base().work.forward_flops(), 1, kTolerance);
  EXPECT_GT(c.models[1].parameters, c.base().parameters);
}

TEST_F(ComparisonRecipe, EqualTrainingFlopsAreStepsOfTheBudget) {
  const std::string peer = R"(
[[models]]
name = "peer"
model.rules = [ { layers = "middle", feed_forward = { kind = "peer", experts = 1024 } } ]
)";
  const Comparison c = load("match = \"training_flops\"\n", peer, {"training.steps=1000"});
  EXPECT_EQ(c.base().recipe.training.steps, 1000);
  EXPECT_NEAR(c.models[1].run_flops() / c.base().run_flops(), 1, kTolerance);
  EXPECT_NE(c.models[1].recipe.training.steps, 1000);
  const Comparison half = load(concat("match = \"training_flops\"\nbudget = ", c.budget / 2, "\n"),
                               peer, {"training.steps=1000"});
  EXPECT_EQ(half.base().recipe.training.steps, 500);
}

TEST_F(ComparisonRecipe, ATableIsLaidOverTheCommonOneAndAnotherKindStartsAfresh) {
  const Comparison c = load("match = \"training_flops\"\n", R"(
[[models]]
name = "wide"
model.feed_forward.width = 1300
training.learning_rate = 0.5
[[models]]
name = "topk"
model.feed_forward = { kind = "topk", width = 256 }
)",
                            {"training.steps=1000"});
  const auto* wide = c.models[1].recipe.model.feed_forward.get_if<checkpoint::Dense>();
  ASSERT_TRUE(wide);
  EXPECT_EQ(wide->width, 1300);
  EXPECT_EQ(c.models[1].recipe.training.learning_rate, 0.5);
  EXPECT_EQ(c.models[0].recipe.training.learning_rate, 2.5e-4);
  const auto* topk = c.models[2].recipe.model.feed_forward.get_if<checkpoint::TopK>();
  ASSERT_TRUE(topk);
  EXPECT_EQ(topk->units_per_token, 128);
}

TEST_F(ComparisonRecipe, AFieldThatCannotBringAMatchIsNamedWithTheNearestSizes) {
  const std::string what = refusal("", R"(
[[models]]
name = "coarse"
solve = "feed_forward.expert_width"
multiple = 64
model.feed_forward = { kind = "mixture", experts = 24, router = { experts_per_token = 2 } }
)");
  for (const char* part :
       {"models.1.solve", "feed_forward.expert_width", "'coarse'", "1 %", "64 gives", "baseline"})
    EXPECT_NE(what.find(part), what.npos) << part << "\n" << what;
}

TEST_F(ComparisonRecipe, WhatIsNotSolvedForAndDoesNotMatchIsRefused) {
  const std::string what = refusal("", R"(
[[models]]
name = "wide"
model.feed_forward.width = 1300
)");
  for (const char* part : {"models.1.solve", "'wide'", "'dense'", "% off"})
    EXPECT_NE(what.find(part), what.npos) << part << "\n" << what;
}

TEST_F(ComparisonRecipe, BudgetsOfTooFewStepsAreRefused) {
  const std::string what =
      refusal("match = \"training_flops\"\nbudget = 1e6\n", "[[models]]\nname = \"x\"\n");
  EXPECT_NE(what.find("models.0.training.steps"), what.npos) << what;
}

TEST_F(ComparisonRecipe, AllThatComeAlongHaveSizesThatMatch) {
  int found = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(MOTE_SOURCE_DIR) / "recipes/compare")) {
    if (entry.path().extension() != ".toml") continue;
    EXPECT_NO_THROW(load_comparison(entry.path().string(), {})) << entry.path();
    ++found;
  }
  EXPECT_GE(found, 4);
}

TEST_F(ComparisonRecipe, TheRowsThatAreKeptAreOfTheRecipeOfTheirName) {
  const fs::path recipes = fs::path(MOTE_SOURCE_DIR) / "recipes/compare";
  for (const auto& entry : fs::directory_iterator(recipes / "results")) {
    const fs::path recipe = recipes / (entry.path().filename().string() + ".toml");
    const std::string hash = load_comparison(recipe.string(), {}).hash();
    std::istringstream rows(read_file(entry.path() / "results.jsonl"));
    for (std::string row; std::getline(rows, row);)
      EXPECT_EQ(Json::parse(row)["recipe"], hash) << entry.path();
  }
}

TEST_F(ComparisonRecipe, WhatIsWrongIsNamed) {
  const auto expect = [&](const std::string& top, const std::string& models, const char* part) {
    const std::string what = refusal(top, models);
    EXPECT_NE(what.find(part), what.npos) << what;
  };
  expect("", "", "has 1 models");
  expect("", "[[models]]\nname = \"dense\"\n", "another model's");
  expect("", "[[models]]\n", "models.1.name' is missing");
  expect("baseline = \"dens\"\n", kMixture, "did you mean 'dense'");
  expect("match = \"size\"\n", kMixture, "not one of parameters, active_flops, training_flops");
  expect("seeds = 0\n", kMixture, "outside 1 to 1000");
  expect("budget = 1e9\n", kMixture, "does not use");
  expect("match = \"training_flops\"\n", kMixture, "leave it out");
  expect("", "[[models]]\nname = \"x\"\nsolve = \"feed_forward.widht\"\n",
         "no whole number of [model]");
  expect("", "[[models]]\nname = \"x\"\nsolve = \"rules.0.feed_forward.width\"\n",
         "no whole number of [model]");
  expect(
      "",
      "[[models]]\nname = \"x\"\nsolve = \"rules.0.feed_forward.expert\"\nmodel.rules = [{layers = "
      "0, feed_forward = {kind = \"peer\"}}]\n",
      "did you mean 'experts'");
  expect("", "[[models]]\nname = \"x\"\ntrain.steps = 3\n", "is not a known key of a model");
  expect("", "[[models]]\nname = \"x\"\ntraining.streams = 3\n", "the same batches");
  expect("", "[[models]]\nname = \"x\"\ntraining.steps = 3\n", "see the same text");
  expect("", "[[models]]\nname = \"x\"\nmodel.feed_forward.experts = 3\n", "(model 'x')");
  expect("", "[[models]]\nname = \"x\"\nmodel = 3\n", "(model 'x')");
  EXPECT_THROW(load("", kMixture, {"training.seed=9223372036854775806"}), Error);
  expect("", "[[models]]\nname = \"x\"\nmultiple = 3\n", "no field is solved for");
  expect("match = \"training_flops\"\n", "[[models]]\nname = \"x\"\ntraining.steps = 3\n",
         "follow from the budget");
}

TEST_F(ComparisonRecipe, TheHashIsOfWhatDecidesTheNumbersOfARun) {
  const std::string hash = load("", kMixture).hash();
  EXPECT_EQ(load("seeds = 7\ntitle = \"other\"\n", kMixture, {"training.seed=5"}).hash(), hash);
  EXPECT_EQ(load("", kMixture, {"training.log_every=3"}).hash(), hash);
  EXPECT_NE(load("", kMixture, {"training.learning_rate=0.1"}).hash(), hash);
  EXPECT_NE(load("", kMixture, {"model.dim=34"}).hash(), hash);
}

}  // namespace
}  // namespace mote::compare
