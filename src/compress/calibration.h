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

// One factor of a moment: row r of the sorted rows is row `pick[r]` of `rows`, or row r itself.
struct MomentRows {
  Tensor rows;
  const std::int32_t* pick = nullptr;
};

// Sums of a b^T over the routed rows of each expert, one chunk of text after another. Of an expert
// only the first `cap` rows (in text order) count. The order of summation is fixed by the chunks.
class Moments {
 public:
  Moments(std::int64_t experts, std::int64_t left, std::int64_t right, std::int64_t cap);
  void add(const MomentRows& a, const MomentRows& b, const model::ops::SortedRoutes& routes,
           const model::Pass& pass);

  const Tensor& sum_ELR() const { return sum_ELR_; }
  const std::vector<std::int64_t>& rows() const { return rows_; }  // counted, per expert

 private:
  const std::int64_t cap_;
  Tensor sum_ELR_;
  std::vector<std::int64_t> rows_;
};

}  // namespace mote::compress
