// What is told of a trained model beside its loss: which experts its layers use, and how its loss grows
// when tokens that it reads are replaced by others.
#pragma once

#include <array>
#include <filesystem>

#include "model/pass.h"
#include "model/usage.h"
#include "train/recipe.h"

namespace mote::compare {

inline constexpr std::array kCorrupted{0.01, 0.05, 0.1};

// A layer in a row of results.jsonl (docs/formats.md).
Json layer_row(const model::LayerUsage& usage);

// Of the model in `folder`, on the validation text of `recipe`: the keys "layers" and "corrupted" of a
// row. Stops when interrupted.
Json analyse(const std::filesystem::path& folder, const train::Recipe& recipe,
             const kernels::Run& run);

}  // namespace mote::compare
