#include "compare/recipe.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/changed_fields.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/toml.h"
#include "checkpoint/packed.h"
#include "compare/solve.h"

namespace mote::compare {
namespace {

// The keys of a comparison beside those of a training recipe.
struct Own {
  std::string title;
  Match match = Match::parameters;
  std::string baseline;
  double budget = 0;
  std::int64_t seeds = 3;

  static auto fields() {
    using C = Own;
    return std::tuple{
        Field{&C::title, "title", "of the report"}, Field{&C::match, "match", "what is made equal"},
        Field{&C::baseline, "baseline", "the model whose size the others get; empty: the first"},
        Field{&C::budget, "budget", "FLOPs of a run; 0: the baseline's", 0.0},
        Field{&C::seeds, "seeds", "runs of each model, with seeds from training.seed on", 1.0,
              1000.0}};
  }
};

struct OwnOfModel {
  std::string name, solve;
  std::int64_t multiple = 1;

  static auto fields() {
    using C = OwnOfModel;
    return std::tuple{
        Field{&C::name, "name", "in the report"},
        Field{&C::solve, "solve", "field of [model] that is set so that sizes match"},
        Field{&C::multiple, "multiple", "what its values are multiples of", 1.0, 1e6}};
  }
};

// Takes the keys of `Config` out of `table`.
template <class Config>
Config taken(Json& table, const Place& place) {
  Json own = Json::object();
  for (const std::string& name : field_names<Config>())
    if (const auto found = table.find(name); found != table.end()) {
      own[name] = *found;
      table.erase(name);
    }
  Config config;
  fields_from_json(own, config, place);
  return config;
}

// What every model reads and how it is cut into batches is one.
void check_same_batches(const Model& model, const Model& base, const Place& place) {
  const auto check = [&](const char* key, std::int64_t here, std::int64_t there) {
    if (here != there)
      throw_config_error(place.inside(key),
                         concat("is ", here, " and ", there, " in model '", base.name,
                                "'; models that are compared read the same batches"));
  };
  check("training.streams", model.recipe.training.streams, base.recipe.training.streams);
  check("model.context", model.recipe.model.context, base.recipe.model.context);
  check("training.seed", model.recipe.training.seed, base.recipe.training.seed);
}

Model read_model(Json own, const Json& common, const std::string& file, const Place& place) {
  if (!own.is_object()) throw_wrong_type(place, "a table", own);
  const auto about = taken<OwnOfModel>(own, place);
  Model model;
  model.name = about.name, model.solve = about.solve, model.multiple = about.multiple;
  if (model.name.empty()) throw_config_error(place.inside("name"), "is missing; name the model");
  for (const auto& [key, unused] : own.items())
    if (key != "model" && key != "training")
      throw_config_error(
          place.inside(key),
          concat("is not a known key of a model",
                 did_you_mean(key, {"name", "solve", "multiple", "model", "training"}),
                 "; what is different goes into its tables "
                 "model and training"));
  Json table = common;
  lay_over(table, own);
  try {
    model.recipe = train::recipe_from(table, file);
    train::validate(model.recipe, file);
    if (checkpoint::reads_source(model.recipe.model))
      throw_config_error({file, "model.encoder.layers"},
                         concat("is ", model.recipe.model.encoder.layers,
                                "; comparisons are of models without an encoder, which go on with "
                                "a text"));
  } catch (const Error& error) {
    throw Error(error.kind(), concat(error.what(), " (model '", model.name, "')"))
        .in(error.file())
        .at(error.field());
  }
  return model;
}

Comparison comparison_from(Json table, const std::string& path) {
  const Place place{path, ""};
  const auto own = taken<Own>(table, place);
  Json models = table.contains("models") ? table["models"] : Json();
  table.erase("models");
  if (!models.is_array() || models.size() < 2)
    throw_config_error(place.inside("models"),
                       concat("has ", models.is_array() ? models.size() : 0,
                              " models; a comparison needs at least two tables [[models]]"));
  constexpr std::size_t kMostModels = 100;
  if (models.size() > kMostModels)
    throw_config_error(place.inside("models"),
                       concat("has ", models.size(), " models, more than ", kMostModels));
  if (!table.contains("version")) table["version"] = 2;

  Comparison comparison;
  comparison.title = own.title.empty() ? fs::path(path).stem().string() : own.title;
  comparison.match = own.match, comparison.budget = own.budget, comparison.seeds = own.seeds;
  std::set<std::string> names;
  for (std::size_t i = 0; i < models.size(); ++i) {
    const Place here = place.inside(concat("models.", i));
    comparison.models.push_back(read_model(models[i], table, path, here));
    const Model& model = comparison.models.back();
    if (!names.insert(model.name).second)
      throw_config_error(here.inside("name"),
                         concat("is ", quoted(model.name), ", as another model's is"));
    check_same_batches(model, comparison.models.front(), here);
    if (model.solve.empty() && model.multiple != 1)
      throw_config_error(here.inside("multiple"), concat("is ", model.multiple,
                                                         ", but no field is solved for; name it "
                                                         "with solve, or leave it out"));
    if (own.match == Match::training_flops && models[i].contains("training") &&
        models[i]["training"].contains("steps"))
      throw_config_error(here.inside("training.steps"),
                         "is given, but with match = \"training_flops\" steps follow from the "
                         "budget; leave it out");
  }
  const std::int64_t first_seed = comparison.models.front().recipe.training.seed;
  if (first_seed > std::numeric_limits<std::int64_t>::max() - own.seeds)
    throw_config_error(place.inside("training.seed"),
                       concat("is ", first_seed, ", and there are no ", own.seeds,
                              " seeds from it on; begin with a smaller one"));
  comparison.baseline = own.baseline.empty() ? comparison.models.front().name : own.baseline;
  if (!names.contains(comparison.baseline))
    throw_config_error(place.inside("baseline"),
                       concat("is ", quoted(comparison.baseline), ", which no model is named",
                              did_you_mean(comparison.baseline, {names.begin(), names.end()})));
  if (comparison.models.front().recipe.data.valid.empty())
    throw_config_error(place.inside("data.valid"),
                       "is missing; models are compared by their loss on it");
  if (own.budget > 0 && own.match != Match::training_flops)
    throw_config_error(place.inside("budget"),
                       concat("is ", own.budget, ", which match = \"", enum_name(own.match),
                              "\" does not use; leave it out, or match training_flops"));
  solve(comparison, path);
  return comparison;
}

}  // namespace

void lay_over(Json& table, const Json& changes) {
  if (!table.is_object() || !changes.is_object()) {
    table = changes;
    return;
  }
  if (changes.contains("kind") && table.value("kind", Json()) != changes["kind"]) {
    table = changes;
    return;
  }
  for (const auto& [key, value] : changes.items()) lay_over(table[key], value);
}

const Model& Comparison::base() const {
  return *std::find_if(models.begin(), models.end(),
                       [&](const Model& model) { return model.name == baseline; });
}

Json Comparison::identity() const {
  Json list = Json::array();
  for (const Model& model : models) {
    train::Recipe recipe_of_any_seed = model.recipe;
    const train::TrainingConfig defaults;
    train::TrainingConfig& training = recipe_of_any_seed.training;
    training.seed = defaults.seed, training.log_every = defaults.log_every;
    training.save_every = defaults.save_every,
    training.keep_checkpoints = defaults.keep_checkpoints;
    const Json recipe = changed_fields(recipe_of_any_seed, train::Recipe{});
    list.push_back({{"name", model.name}, {"recipe", recipe}});
  }
  return {{"match", to_json(match)}, {"baseline", baseline}, {"models", list}};
}

std::string Comparison::hash() const {
  return checkpoint::xxh64(json_text(identity()));
}

Comparison load_comparison(const std::string& path, const std::vector<std::string>& overrides) {
  Json table = read_toml(path);
  for (const std::string& assignment : overrides) set_override(table, assignment);
  try {
    return comparison_from(std::move(table), path);
  } catch (const Error& error) {
    if (overrides.empty()) throw;
    train::blame_overrides(error, path, overrides, [&] { comparison_from(read_toml(path), path); });
  }
}

}  // namespace mote::compare
