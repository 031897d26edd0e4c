// Continues a text, token by token.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/model.h"
#include "run/sampler.h"
#include "text/tokenizer.h"

namespace mote::run {

struct GenerateOptions {
  std::int64_t new_tokens = 128;
  std::int64_t memory_tokens = -1;  // as the model's config says
  std::int64_t prompt_step = 512;   // prompt tokens at a time; any number gives the same
  std::vector<std::string> stop;    // ends before any of these texts
  SamplerConfig sampler;
};

struct Generated {
  std::string text;  // without the prompt
  std::vector<text::TokenId> ids;
  std::int64_t prompt_tokens = 0;
  std::string stop_reason;  // "length", "end_of_text", "stop", or "context": no position is left
  double prompt_seconds = 0, new_seconds = 0;
};

// Throws when the prompt is longer than the model has positions, where logits are not finite, and for
// a model whose tokens depend on later ones.
// The tokenizer has at most the model's ids, and only its own are drawn. `emit` gets the text as it
// comes, valid UTF-8 in every piece; what may still become a stop text is held back.
Generated generate(const model::Model& model, const text::Tokenizer& tokenizer,
                   const std::string& prompt, const GenerateOptions& options,
                   const model::Pass& pass, const std::function<void(const std::string&)>& emit);

}  // namespace mote::run
