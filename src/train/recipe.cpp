#include "train/recipe.h"

#include "base/toml.h"
#include "checkpoint/families/mote.h"

namespace mote::train {

void validate(const Recipe& recipe, const std::string& file) {
  if (recipe.data.train.empty())
    throw_config_error({file, "data.train"}, "is missing; name a corpus, a file or a folder");
  if (recipe.model.vocab_size != 0)
    throw_config_error({file, "model.vocab_size"},
                       "is set; it follows from data.tokenizer and data.vocab_size");
  checkpoint::ModelConfig with_vocabulary = recipe.model;
  with_vocabulary.vocab_size = 1;
  checkpoint::validate(with_vocabulary, {file, "model"});
  if (recipe.training.schedule_steps != 0 && recipe.training.schedule_steps < recipe.training.steps)
    throw_config_error({file, "training.schedule_steps"},
                       concat("is ", recipe.training.schedule_steps,
                              ", less than training.steps = ", recipe.training.steps,
                              "; the cosine would rise again"));
}

Recipe recipe_from(Json table, const std::string& file) {
  const auto version = table.find("version");
  if (version == table.end() || *version == 1) {
    if (const auto model = table.find("model"); model != table.end())
      *model = checkpoint::upgraded_model_table(*model);
    table["version"] = checkpoint::kMoteVersion;
  }
  return read_config<Recipe>(table, file);
}

Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  Json table = read_toml(path);
  for (const std::string& assignment : overrides) set_override(table, assignment);
  const Recipe recipe = recipe_from(std::move(table), path);
  validate(recipe, path);
  return recipe;
}

}  // namespace mote::train
