// Why what a model computes is not finite: for errors. Nothing is looked for while all is well.
#pragma once

#include <string>

#include "model/model.h"

namespace mote::model {

// Throws a numeric error: `what`, then the first tensor that holds a number that is not finite, else
// the one that holds the largest.
[[noreturn]] void throw_nonfinite(const Model& model, const std::string& what);

// Throws that error if any tensor of the model, which is all read, holds a number that is not
// finite.
void check_finite(const Model& model, const std::string& what);

}  // namespace mote::model
