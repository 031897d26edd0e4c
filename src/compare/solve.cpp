#include "compare/solve.h"

#include <cmath>
#include <sstream>

#include "base/toml.h"
#include "model/model.h"
#include "report/page.h"
#include "train/tokens.h"

namespace mote::compare {
namespace {

using report::number_text;

void measure(Model& model, std::int64_t vocab_size) {
  const checkpoint::ModelConfig config = train::model_of(model.recipe, vocab_size);
  const model::ParameterCounts counts = model::count_parameters(config);
  model.parameters = counts.total;
  model.feed_forward = counts.feed_forward;
  model.feed_forward_active = counts.feed_forward_active;
  model.work = checkpoint::work_of(config, model.recipe.training.streams_at_once());
}

double size_of(const Model& model, Match match) {
  return match == Match::parameters ? static_cast<double>(model.parameters)
                                    : model.work.forward_flops();
}

const char* unit_of(Match match) {
  return match == Match::parameters ? " parameters" : " active FLOPs a token";
}

double off(double value, double target) {
  return std::abs(value - target) / target;
}

std::string percent(double share) {
  return number_text(100 * share, 3) + " %";
}

// The values that a field may be given: multiples, or their squares where product keys need these.
struct Values {
  std::int64_t multiple = 1;
  bool squares = false;
  std::int64_t at(std::int64_t i) const {
    return squares ? i * multiple * i * multiple : i * multiple;
  }
};

Values values_of(const Model& model, const Json& table) {
  const std::size_t dot = model.solve.rfind('.');
  const std::string key = dot == std::string::npos ? model.solve : model.solve.substr(dot + 1);
  const std::string kind = table.is_object() && table.contains("kind") && table["kind"].is_string()
                               ? table["kind"].get<std::string>()
                               : "";
  const bool squares = (kind == checkpoint::ProductKey::kKind && key == "values") ||
                       (kind == checkpoint::Peer::kKind && key == "experts");
  return {model.multiple, squares};
}

const Json* step(const Json& at, const std::string& key) {
  if (at.is_array()) {
    const bool number =
        !key.empty() && key.find_first_not_of("0123456789") == std::string::npos && key.size() < 6;
    const std::size_t index = number ? std::stoul(key) : at.size();
    return index < at.size() ? &at[index] : nullptr;
  }
  if (!at.is_object()) return nullptr;
  const auto found = at.find(key);
  return found == at.end() ? nullptr : &*found;
}

// What a dotted path leads to, and the table that it stands in; null: nothing.
struct Found {
  const Json* inside;
  const Json* value;
};
Found follow(const Json& json, const std::string& path) {
  Found found{nullptr, &json};
  std::istringstream keys(path);
  for (std::string key; std::getline(keys, key, '.');) {
    if (!found.value) return {nullptr, nullptr};
    found = {found.value, step(*found.value, key)};
  }
  return found;
}

// Looks for the value of the field that `solve` names.
class Solver {
 public:
  Solver(const Model& model, std::int64_t vocab_size, Match match, const Place& place)
      : model_(model),
        vocab_size_(vocab_size),
        match_(match),
        place_(place),
        json_(to_json(model.recipe)) {
    const Found field = follow(json_["model"], model.solve);
    // A rule has no more than what it changes; what its table does not know is refused when it is tried.
    const bool of_a_rule = !field.value && field.inside && model.solve.starts_with("rules.");
    if (!of_a_rule && (!field.value || !field.value->is_number_integer()))
      throw_config_error(
          place.inside("solve"),
          concat("is ", quoted(model.solve), ", which is no whole number of [model] of '",
                 model.name, "'; name one, as feed_forward.width"));
    values_ = values_of(model, *field.inside);
  }

  // The model at the value of the field that comes nearest to `target`.
  Model nearest(double target) {
    std::int64_t low = 0, high = 1;  // low: too small, or not allowed and below what is
    std::optional<Model> below, above;
    constexpr std::int64_t kMost = std::int64_t{1} << 40;
    bool any = false;
    for (;; high *= 2) {
      std::optional<Model> here = values_.at(high) > kMost ? std::nullopt : at(high);
      if (!here && !any && values_.at(high) <= kMost) {
        low = high;
        continue;
      }
      if (!here && !any) throw Error(*refused_);
      any = true;
      const bool enough = !here || size_of(*here, match_) >= target;
      if (enough) {
        above = std::move(here);
        break;
      }
      below = std::move(here), low = high;
    }
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      std::optional<Model> here = at(middle);
      const bool too_small = here ? size_of(*here, match_) < target : !below && above;
      if (too_small) {
        low = middle;
        if (here) below = std::move(here);
      } else {
        high = middle;
        if (here) above = std::move(here);
      }
    }
    return choose(below, above, target);
  }

 private:
  // None: a model that is not allowed.
  std::optional<Model> at(std::int64_t i) {
    Json json = json_;
    set_override(json, concat("model.", model_.solve, "=", values_.at(i)));
    Model made = model_;
    try {
      made.recipe = train::recipe_from(json, place_.file);
      train::validate(made.recipe, place_.file);
    } catch (const Error& error) {
      refused_ = error;
      return std::nullopt;
    }
    measure(made, vocab_size_);
    made_.emplace_back(values_.at(i), size_of(made, match_));
    return made;
  }

  Model choose(const std::optional<Model>& below, const std::optional<Model>& above,
               double target) {
    const Model* best = nullptr;
    std::string sizes;
    for (const auto* each : {&below, &above}) {
      if (!*each) continue;
      const double size = size_of(**each, match_);
      for (const auto& [value, of] : made_)
        if (of == size) {
          sizes += concat(sizes.empty() ? "" : ", ", value, " gives ", number_text(size));
          break;
        }
      if (!best || off(size, target) < off(size_of(*best, match_), target)) best = &**each;
    }
    if (off(size_of(*best, match_), target) <= kTolerance) return *best;
    throw_config_error(place_.inside("solve"),
                       concat("is ", model_.solve, ", and no value of it brings '", model_.name,
                              "' within ", percent(kTolerance), " of the ", number_text(target),
                              unit_of(match_), " of the baseline: ", sizes,
                              refused_ && !(below && above) ? concat("; ", refused_->what()) : "",
                              "; solve another field, or change what both have"));
  }

  const Model& model_;
  const std::int64_t vocab_size_;
  const Match match_;
  const Place place_;
  Json json_;
  Values values_;
  std::vector<std::pair<std::int64_t, double>> made_;
  std::optional<Error> refused_;
};

void match_size(Model& model, const Model& base, std::int64_t vocab_size, Match match,
                const Place& place) {
  const double target = size_of(base, match), size = size_of(model, match);
  if (!model.solve.empty()) {
    model = Solver(model, vocab_size, match, place).nearest(target);
  } else if (off(size, target) > kTolerance) {
    throw_config_error(place.inside("solve"),
                       concat("is missing: '", model.name, "' has ", number_text(size),
                              unit_of(match), ", the baseline '", base.name, "' ",
                              number_text(target), ", ", percent(off(size, target)),
                              " off; name the field of [model] that mote is to set, as "
                              "feed_forward.width"));
  }
}

void match_steps(Model& model, double budget, const Place& place) {
  const double exact = budget / model.step_flops();
  const auto steps = static_cast<std::int64_t>(std::llround(std::min(exact, 1e15)));
  const double got = static_cast<double>(steps) * model.step_flops();
  if (steps < 1 || off(got, budget) > kTolerance)
    throw_config_error(
        place.inside("training.steps"),
        concat("'", model.name, "' would take ", number_text(exact), " steps of ",
               number_text(model.step_flops()), " FLOPs for the budget of ", number_text(budget),
               ", and ", steps < 1 ? 1 : steps, " of them are not within ", percent(kTolerance),
               "; raise budget or training.steps of the baseline"));
  model.recipe.training.steps = steps;
  train::validate(model.recipe, place.file);
}

}  // namespace

std::int64_t solved_value(const Model& model) {
  const Json json = to_json(model.recipe.model);
  return follow(json, model.solve).value->get<std::int64_t>();
}

void solve(Comparison& comparison, const std::string& file) {
  const std::int64_t vocab_size = train::vocab_size_of(comparison.models.front().recipe, {});
  for (Model& model : comparison.models) measure(model, vocab_size);
  const Model base = comparison.base();
  const bool by_steps = comparison.match == Match::training_flops;
  if (by_steps && comparison.budget == 0) comparison.budget = base.run_flops();
  for (std::size_t i = 0; i < comparison.models.size(); ++i) {
    Model& model = comparison.models[i];
    const Place place{file, concat("models.", i)};
    if (!model.solve.empty() && (by_steps || model.name == base.name))
      throw_config_error(place.inside("solve"),
                         concat("is ", quoted(model.solve), ", but ",
                                by_steps ? "with match = \"training_flops\" steps are solved for"
                                         : "this is the baseline, whose size the others get",
                                "; leave it out"));
    if (by_steps)
      match_steps(model, comparison.budget, place);
    else if (model.name != base.name)
      match_size(model, base, vocab_size, comparison.match, place);
  }
  for (const Model& model : comparison.models) {
    if (by_steps || model.recipe.training.steps == base.recipe.training.steps) continue;
    throw_config_error({file, "training.steps"},
                       concat("is ", model.recipe.training.steps, " in model '", model.name,
                              "' and ", base.recipe.training.steps, " in '", base.name,
                              "'; models that are compared see the same text"));
  }
}

}  // namespace mote::compare
