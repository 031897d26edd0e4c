#include "train/recipe.h"

#include <algorithm>

#include "base/toml.h"
#include "model/loss.h"
#include "text/bpe.h"
#include "text/utf8.h"

namespace mote::train {
namespace {

std::string first_difference(const Json& a, const Json& b, const std::string& path) {
  for (const auto& [key, value] : a.items()) {
    const std::string here = path.empty() ? key : path + "." + key;
    if (!b.contains(key)) return here;
    if (value.is_object()) {
      const std::string inner = first_difference(value, b[key], here);
      if (!inner.empty()) return inner;
    } else if (nlohmann::json(value) != nlohmann::json(b[key])) {  // whatever the order of keys
      return here;
    }
  }
  return "";
}

// The recipe without what changes no step.
Json computation(const Recipe& recipe) {
  Json json = to_json(recipe);
  for (const char* key : {"valid", "valid_bytes"}) json["data"].erase(key);
  Json& training = json["training"];
  for (const char* key : {"steps", "eval_every", "save_every", "keep_checkpoints", "log_every"})
    training.erase(key);
  training["schedule_steps"] = recipe.training.horizon();
  return json;
}

std::string key_of(const std::string& assignment) {
  return assignment.substr(0, assignment.find('='));
}

// Whether one key is the other or holds it.
bool related(const std::string& a, const std::string& b) {
  return a == b || a.starts_with(b + ".") || b.starts_with(a + ".");
}

// A recipe is kept beside the model and read again from other folders.
void name_from_anywhere(Recipe& recipe, const std::string& file) {
  DataConfig& data = recipe.data;
  const auto check_utf8 = [&](const char* key, const std::string& text) {
    if (text::valid_utf8_prefix(text) != text.size())
      throw_config_error({file, key}, concat("is ", quoted(Json(text)),
                                             " and not UTF-8, as recipes are; rename the file, or "
                                             "give a link to it"));
  };
  check_utf8("data.text_key", data.text_key);
  for (const auto& [key, name] :
       {std::pair{"data.train", &data.train}, std::pair{"data.valid", &data.valid},
        std::pair{"data.tokenizer", &data.tokenizer},
        std::pair{"training.from", &recipe.training.from}}) {
    check_utf8(key, *name);
    const bool is_kind =
        name == &data.tokenizer && (*name == "bytes" || text::is_learned_tokenizer(*name));
    if (!is_kind) *name = text::named_from_anywhere(*name);
  }
}

}  // namespace

void blame_overrides(const Error& error, const std::string& path,
                     const std::vector<std::string>& overrides,
                     const std::function<void()>& without) {
  std::string blamed;
  for (const std::string& assignment : overrides)
    if (related(key_of(assignment), error.field())) blamed = " --set " + assignment;
  if (blamed.empty()) {
    without();
    for (const std::string& assignment : overrides) blamed += " --set " + assignment;
  }
  std::string what = error.what();
  if (what.starts_with(path + ": ")) what.erase(0, path.size() + 2);
  throw Error(ErrorKind::usage, concat(blamed.substr(1), ": ", what)).at(error.field());
}

std::string changed_computation(const Recipe& now, const Recipe& then) {
  const std::string field = first_difference(computation(now), computation(then), "");
  const bool by_steps = field == "training.schedule_steps" &&
                        now.training.schedule_steps == then.training.schedule_steps;
  return by_steps ? "training.steps" : field;
}

std::string changed_model(const checkpoint::ModelConfig& now, const checkpoint::ModelConfig& then) {
  const auto function = [](const checkpoint::ModelConfig& config) {
    Json json = to_json(config);
    for (const char* key : {"vocab_size", "context", "dropout"}) json.erase(key);
    for (const char* key : {"memory_blocks", "eval_memory_blocks"}) json["attention"].erase(key);
    Json& feed_forward = json["feed_forward"];
    for (const char* key : {"hidden_dropout", "init"}) feed_forward.erase(key);
    if (const auto router = feed_forward.find("router"); router != feed_forward.end()) {
      for (const char* key : {"expert_dropout", "entropy_weight", "balance"}) router->erase(key);
      if (router->value(Json::json_pointer("/noise/kind"), "") != "learned") router->erase("noise");
      if (!router->value(Json::json_pointer("/capacity/elsewhere"), false))
        router->erase("capacity");
    }
    return json;
  };
  return first_difference(function(now), function(then), "");
}

void validate(const Recipe& recipe, const std::string& file) {
  if (recipe.data.train.empty())
    throw_config_error({file, "data.train"}, "is missing; name a corpus, a file or a folder");
  if (recipe.model.vocab_size != 0)
    throw_config_error({file, "model.vocab_size"},
                       "is set; it follows from data.tokenizer and data.vocab_size");
  checkpoint::validate_layers(recipe.model, {file, "model"});
  if (const bool reads = checkpoint::reads_source(recipe.model);
      reads == (recipe.data.task == text::Task::text))
    throw_config_error(
        {file, "data.task"},
        concat("is ", enum_name(recipe.data.task), ", and model.encoder.layers is ",
               recipe.model.encoder.layers,
               reads ? "; an encoder-decoder learns span_corruption or pairs"
                     : "; only an encoder-decoder reads sources, without one it is text"));
  if (recipe.data.task == text::Task::pairs && recipe.data.text_key == recipe.data.target_key)
    throw_config_error({file, "data.target_key"}, concat("is '", recipe.data.target_key,
                                                         "', as text_key is; a source and its "
                                                         "target are two texts"));
  if (recipe.data.tokenizer.empty())
    throw_config_error({file, "data.tokenizer"},
                       "is empty; choose bytes, bpe, unigram or a folder with a tokenizer");
  for (const auto& [key, value] :
       {std::pair{"beta1", recipe.training.beta1}, std::pair{"beta2", recipe.training.beta2}})
    if (value == 1)
      throw_config_error({file, concat("training.", key)},
                         "is 1, outside 0 to below 1; no gradient would ever count");
  if (recipe.training.schedule_steps != 0 && recipe.training.schedule_steps < recipe.training.steps)
    throw_config_error({file, "training.schedule_steps"},
                       concat("is ", recipe.training.schedule_steps,
                              ", less than training.steps = ", recipe.training.steps,
                              "; the cosine would rise again"));
  const TablesConfig& tables = recipe.training.tables;
  if (tables.bias_step == BiasStep::row && tables.untouched == UntouchedRows::move)
    throw_config_error({file, "training.tables.bias_step"},
                       "is row, but rows that move every step have one t; set untouched = "
                       "\"stay\" beside it, or leave bias_step out");
  if (tables.learning_rate > 0 && recipe.training.learning_rate == 0)
    throw_config_error({file, "training.tables.learning_rate"},
                       concat("is ", tables.learning_rate,
                              ", and follows the schedule of training.learning_rate, which is 0"));
  if (recipe.training.streams % recipe.training.accumulate != 0)
    throw_config_error(
        {file, "training.accumulate"},
        concat("is ", recipe.training.accumulate, ", which does not divide training.streams = ",
               recipe.training.streams, "; the parts of a batch are of one size"));
  constexpr double kMostTokens = 1e18;  // which 64 bits can count
  if (static_cast<double>(recipe.training.streams) * static_cast<double>(recipe.training.steps) *
          static_cast<double>(recipe.model.context) >
      kMostTokens)
    throw_config_error({file, "training.streams"},
                       concat("is ", recipe.training.streams, ", and with model.context = ",
                              recipe.model.context, " and training.steps = ", recipe.training.steps,
                              " a run has more than ", kMostTokens, " tokens; make one smaller"));
}

text::PairOptions pair_options(const Recipe& recipe) {
  text::PairOptions options =
      model::pair_options(recipe.model, recipe.data.task, recipe.data.spans);
  options.seed = static_cast<std::uint64_t>(recipe.training.seed);
  return options;
}

Recipe recipe_from(Json table, const std::string& file) {
  const auto version = table.find("version");
  const bool first = version == table.end() || *version == 1;
  // What later versions lack has its defaults.
  const bool older = first || (version->is_number_integer() && *version >= 2 &&
                               *version < checkpoint::kMoteVersion);
  if (const auto model = table.find("model"); first && model != table.end())
    *model = checkpoint::upgraded_model_table(*model);
  if (older) table["version"] = checkpoint::kMoteVersion;
  auto recipe = read_config<Recipe>(table, file);
  name_from_anywhere(recipe, file);
  return recipe;
}

Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  Json table = read_toml(path);
  for (const std::string& assignment : overrides) set_override(table, assignment);
  if (table.contains("models"))
    throw_config_error({path, "models"}, "makes it a comparison; give it to mote compare");
  try {
    const Recipe recipe = recipe_from(std::move(table), path);
    validate(recipe, path);
    return recipe;
  } catch (const Error& error) {
    if (overrides.empty()) throw;
    blame_overrides(error, path, overrides, [&] { load_recipe(path, {}); });
  }
}

}  // namespace mote::train
