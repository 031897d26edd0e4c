// What compression learns from: samples of text, and the second moments of what each expert is
// given.
#pragma once

#include <vector>

#include "compress/methods/method.h"
#include "model/experts/bank.h"
#include "text/corpus.h"
#include "text/tokenizer.h"

namespace mote::compress {

struct SampleOptions {
  std::int64_t samples = 128, length = 1024;
  std::uint64_t seed = 1;
};

// Pieces of `length` tokens (fewer at the end of a document), each after one end-of-text token,
// drawn without replacement; in the order of the text. All pieces if there are no more than asked
// for. Throws when the corpus has no text.
std::vector<std::vector<text::TokenId>> draw_samples(const text::Corpus& corpus,
                                                     const text::Tokenizer& tokenizer,
                                                     const SampleOptions& options);

// sum of x x^T over the rows that `routes` gives each expert, only the first `cap` of an expert (in
// text order). For `x_ND` rows are picked by token; fixed order of summation.
Statistics input_moments(const Tensor& x_ND, const model::ops::SortedRoutes& routes,
                         std::int64_t cap, const model::Pass& pass);

// The same for rows that are sorted already, as the output of a grouped product is.
Statistics sorted_moments(const Tensor& u_RG, const model::ops::SortedRoutes& routes,
                          std::int64_t cap, const model::Pass& pass);

// sum of a b^T over the same rows: [E, A, B].
Tensor cross_moments(const Tensor& a_RA, const Tensor& b_RB, const model::ops::SortedRoutes& routes,
                     std::int64_t cap, const model::Pass& pass);

}  // namespace mote::compress
