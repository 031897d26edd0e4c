// A comparison: several models on the same text, of matched size. TOML on disk:
//
//   [data], [model], [training]   what all models have in common, as in a training recipe
//   [[models]]                    one model: its name, and what is different, as tables of its own
//   match, baseline, budget       what is made equal
// A table of a model is laid over the common one, key by key; another `kind` starts its table afresh.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/work.h"
#include "train/recipe.h"

namespace mote::compare {

enum class Match { parameters, active_flops, training_flops };

struct Model {
  std::string name;
  std::string solve;          // the field of [model] that is set so that sizes match; empty: none
  std::int64_t multiple = 1;  // what its values are multiples of
  train::Recipe recipe;       // of a run with the first seed, sizes solved
  std::int64_t parameters = 0, feed_forward = 0, feed_forward_active = 0;
  checkpoint::Work work;

  std::int64_t tokens_per_step() const { return recipe.training.streams * recipe.model.context; }
  double step_flops() const {
    return work.training_flops() * static_cast<double>(tokens_per_step());
  }
  double run_flops() const { return step_flops() * static_cast<double>(recipe.training.steps); }
};

struct Comparison {
  std::string title;
  Match match = Match::parameters;
  std::string baseline;  // the model whose size the others get
  double budget = 0;     // FLOPs of a run, where these are matched
  std::int64_t seeds = 3;
  std::vector<Model> models;

  const Model& base() const;
  // All that decides a run's numbers but its seed, as what differs from the defaults, and the hash of
  // it.
  Json identity() const;
  std::string hash() const;
};

// Reads a recipe, applies `overrides` (key=value) and solves the sizes. Throws a config error that
// names the field where a model cannot match the baseline within kTolerance.
inline constexpr double kTolerance = 0.01;
Comparison load_comparison(const std::string& path, const std::vector<std::string>& overrides);

// The value that was found for the field that `model.solve` names.
std::int64_t solved_value(const Model& model);

// `changes` laid over `table`.
void lay_over(Json& table, const Json& changes);

}  // namespace mote::compare

template <>
struct mote::EnumNames<mote::compare::Match> {
  static constexpr std::array names{"parameters", "active_flops", "training_flops"};
};
