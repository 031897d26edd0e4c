// What compression learns from: samples of text, and the second moments of what enters each weight.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "compress/methods/method.h"
#include "model/observer.h"
#include "text/pairs.h"
#include "text/tokenizer.h"

namespace mote::compress {

struct SampleOptions {
  std::int64_t samples = 128, length = 1024;
  std::uint64_t seed = 1;
  std::vector<text::TokenId> before = {};  // what a text begins with
};

// What passes through the model together. `counted`: whether the row of a token counts for the moments of
// experts; empty: all do.
struct SampleText {
  std::vector<text::TokenId> ids;
  std::vector<char> counted = {};
  // Of encoder-decoders, whose ids are those of the target, shifted behind the token that starts it.
  std::vector<text::TokenId> source = {};
  std::vector<char> source_counted = {};
};

// Pieces of `length` tokens (fewer at the end of a document), each after what a text begins with,
// drawn without replacement; in the order of the text. All pieces if there are no more than asked
// for. Throws when the corpus has no text.
std::vector<SampleText> draw_samples(const text::Corpus& corpus, const text::Tokenizer& tokenizer,
                                     const SampleOptions& options);

// Pairs, drawn in the same way. Of span corruption in QMoE's form (specs/qmoe 2.4): pieces end with the
// end token, which may be cut out too. Unless `count_special`, rows of special tokens but the end do not
// count, nor those of the target that special tokens follow (2.1, keep-mask).
std::vector<SampleText> draw_pairs(const text::Corpus& corpus, const text::Tokenizer& tokenizer,
                                   const SampleOptions& options, const text::PairOptions& pairs,
                                   bool count_special);

// One factor of a moment: row r of the sorted rows is row `pick[r]` of `rows`, or row r itself.
struct MomentRows {
  Tensor rows;
  const std::int32_t* pick = nullptr;
};

// Sums of a b^T over the rows of each expert, one piece of text after another. Of an expert only
// the first `cap` rows (in text order) count. The order of summation is fixed by the pieces.
class Moments {
 public:
  Moments(std::int64_t experts, std::int64_t left, std::int64_t right, std::int64_t cap);
  // `ends_E`: int32, where each expert's sorted rows end.
  void add(const MomentRows& a, const MomentRows& b, const Tensor& ends_E, const model::Pass& pass);

  const Tensor& sum_ELR() const { return sum_ELR_; }
  const std::vector<std::int64_t>& rows() const { return rows_; }  // counted, per expert

 private:
  const std::int64_t cap_;
  Tensor sum_ELR_;
  std::vector<std::int64_t> rows_;
};

// Rows that count of each expert, of `tokens` that are seen in all: `factor` times its fair share, at
// the rows per token that `rows` has; one matrix sees every row and none is left out.
std::int64_t row_cap(const model::ops::StackRows& rows, std::int64_t tokens, std::int64_t factor);

// Watches passes over calibration text and sums x x^T of what enters chosen weights.
class InputMoments final : public model::Observer {
 public:
  // `tokens`: how many will be seen; an expert's moments count at most `cap_factor` times its fair
  // share of their routed rows. `run`: how to sum.
  InputMoments(std::set<std::string> names, std::int64_t tokens, std::int64_t cap_factor,
               const model::Pass& run)
      : names_(std::move(names)), tokens_(tokens), cap_factor_(cap_factor), run_(run) {}

  bool wants(const std::string& name) const override { return names_.contains(name); }
  void saw(const std::string& name, const Tensor& x, const model::ops::StackRows& rows) override;
  // From now on, which tokens' rows count for experts; empty: all do.
  void count(std::vector<char> tokens) { counted_ = std::move(tokens); }

  // Of a weight that was seen; undefined moments of one that was not.
  Statistics of(const std::string& name) const;
  // The names in the order in which they were first seen; those that multiply the same input, one
  // after the other, are together.
  const std::vector<std::vector<std::string>>& groups() const { return groups_; }

 private:
  std::size_t group_of(const std::string& name, const Tensor& x, const model::ops::StackRows& rows);

  const std::set<std::string> names_;
  const std::int64_t tokens_, cap_factor_;
  const model::Pass run_;
  std::vector<char> counted_;
  std::map<std::string, std::size_t> group_;
  std::vector<std::vector<std::string>> groups_;
  std::vector<std::unique_ptr<Moments>> moments_;  // per group
  Tensor last_x_;
  Tensor last_order_R_;  // of its index; undefined: one matrix
  std::size_t last_group_ = 0;
};

}  // namespace mote::compress
