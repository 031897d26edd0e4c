// Sizes that make models alike.
#pragma once

#include "compare/recipe.h"

namespace mote::compare {

// Sets the sizes of all models but the baseline, and of their numbers what follows: parameters, work,
// steps. `file` is for messages.
void solve(Comparison& comparison, const std::string& file);

}  // namespace mote::compare
