// results.jsonl: a row for each run that is done (docs/formats.md).
#pragma once

#include <filesystem>
#include <vector>

#include "compare/recipe.h"

namespace mote::compare {

class Results {
 public:
  // Reads the rows that lie in `folder`; a torn last line is left out. Throws where they are of another
  // comparison.
  Results(const std::filesystem::path& folder, const Comparison& comparison);
  // Null: not done yet.
  const Json* find(const std::string& name, std::int64_t seed) const;
  void add(Json row);
  // Those of the comparison's models and seeds, model by model.
  std::vector<Json> rows(const Comparison& comparison) const;

 private:
  const std::filesystem::path path_;
  std::vector<Json> rows_;
};

}  // namespace mote::compare
