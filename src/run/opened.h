// A model to be run: what every verb that runs one opens.
#pragma once

#include "model/saved.h"

namespace mote::run {

struct Opened {
  std::unique_ptr<model::Model> model;
  std::unique_ptr<text::Tokenizer> tokenizer;
  model::TextBounds bounds;
};

// Warns of what makes tokens depend on later ones, or on how many come at a time. Throws when `pass`
// asks for 8-bit activations and the model has no weights for them.
Opened open_model(const std::filesystem::path& model, const model::Pass& pass);

}  // namespace mote::run
