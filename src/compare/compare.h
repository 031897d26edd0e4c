// Runs a comparison in a folder: every model with every seed, each a training run of its own, and a row
// for each that is done. Runs and rows that are there already are taken.
//
//   recipe.toml        what is compared, sizes solved
//   data/              prepared tokens, the same for all
//   runs/              a training run (train/run_folder.h) for each model and seed
//   results.jsonl      a row for each run that is done
//   resources.jsonl    rows of `mote bench layers`, drawn too where they lie there
//   report.html, table.md
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compare/recipe.h"
#include "kernels/core/variants.h"

namespace mote::compare {

// `resources`: the text of a resources.jsonl that replaces the folder's. `machine`: what rows and the page say of where and how it was made ("cpu", "isa", "threads", "version",
// "commit", "command"). Returns the rows. Without `resume` the folder must be new or empty. An interrupt leaves
// what is done, and throws `interrupted`.
std::vector<Json> run_comparison(const Comparison& comparison, const std::filesystem::path& folder,
                                 bool resume, const std::optional<std::string>& resources,
                                 const Json& machine, const kernels::Run& run);

}  // namespace mote::compare
