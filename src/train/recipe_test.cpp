#include "train/recipe.h"

#include "model/model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/check.h"

namespace mote::train {
namespace {

namespace fs = std::filesystem;

TEST(Recipes, AllAreRead) {
  int found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(MOTE_SOURCE_DIR) / "recipes"))
    if (entry.path().extension() == ".toml") {
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
      {"c4-47m-dense", 47'260'136 - 16},
      {"c4-47m-sigma-moe", 47'260'248 - 16},
      {"c4-262m-dense", 262'479'968 - 18},
      {"c4-262m-sigma-moe", 262'461'284 - 18}};
  for (const auto& entry :
       fs::directory_iterator(fs::path(MOTE_SOURCE_DIR) / "recipes" / "published")) {
    const Recipe recipe = load_recipe(entry.path().string(), {});
    checkpoint::ModelConfig config = recipe.model;
    config.vocab_size =
        recipe.data.tokenizer == TokenizerKind::bytes ? 257 : recipe.data.vocab_size;
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

}  // namespace
}  // namespace mote::train
