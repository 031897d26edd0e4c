// Beam search: of the texts that a model may write, one of large probability.
//
//   score(y) = sum_t ln p(y_t | y_<t) / |y|^penalty,  |y| the tokens written, the ending one included
// At each step every kept beginning goes on with every token; of these the `beams` most probable that do
// not end are kept, and what ends among the first `beams` of all is finished. It stops when `beams`
// are finished and no beginning has a larger score, or after `new_tokens`. Equal sums: the earlier
// beginning, then the lower id. One beam is greedy search. Biases are added to logits first.
#pragma once

#include <functional>
#include <vector>

#include "model/model.h"
#include "text/tokenizer.h"

namespace mote::run {

struct BeamOptions {
  std::int64_t beams = 4;
  double length_penalty = 1;
  std::int64_t new_tokens = 128;
  std::vector<std::pair<text::TokenId, float>> biases = {};  // minus infinity: never written
};

struct Beam {
  std::vector<text::TokenId> ids;  // written, without the one that ended it
  bool ended = false;
  double score = 0;
};

// After `hidden`, [1, 1, D], of what the cache holds, one sequence. Tokens are ids below `vocabulary`.
Beam beam_search(const model::Model& model, const Tensor& hidden_11D, model::Cache& cache,
                 std::int64_t vocabulary, const std::function<bool(text::TokenId)>& ends,
                 const BeamOptions& options, const model::Pass& pass);

}  // namespace mote::run
