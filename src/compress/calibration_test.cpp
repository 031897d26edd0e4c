#include "compress/calibration.h"

#include <set>

#include "base/check.h"
#include "tests/support/models.h"
#include "text/bpe.h"
#include "text/sentencepiece.h"

namespace mote::compress {
namespace {

using testing::expect_close;
using testing::fill;
using testing::test_pass;

constexpr std::int64_t kExperts = 4, kTokens = 50, kPerToken = 2;

// Two experts for each token.
model::ops::SortedRoutes sorted_pairs(const Tensor& expert_N2) {
  const std::int64_t tokens = expert_N2.size(0);
  return model::ops::sort_routes({kExperts, model::ops::equal_rows(tokens, kPerToken, test_pass()),
                                  expert_N2.reshape({-1}), torch::ones({tokens * kPerToken})},
                                 test_pass());
}

// Tokens that an expert takes, in the order of the text.
std::vector<std::int64_t> tokens_of(const model::ops::SortedRoutes& routes, std::int64_t expert) {
  const auto* ends = routes.ends_E.const_data_ptr<std::int32_t>();
  const auto* token = routes.token_R.const_data_ptr<std::int32_t>();
  return {token + (expert == 0 ? 0 : ends[expert - 1]), token + ends[expert]};
}

Tensor some_pairs(std::int64_t tokens) {
  const Tensor first = torch::arange(tokens) * 7 % 3;
  return torch::stack({first, first + 1}, 1).to(torch::kInt32);
}

model::ops::SortedRoutes some_routes(std::int64_t tokens = kTokens) {
  return sorted_pairs(some_pairs(tokens));
}

// sum of a b^T over the first `cap` tokens that an expert takes, in double.
Tensor naive_moments(const Tensor& a_ND, const Tensor& b_ND, const model::ops::SortedRoutes& routes,
                     std::int64_t expert, std::int64_t cap) {
  Tensor sum = torch::zeros({a_ND.size(1), b_ND.size(1)}, torch::kFloat64);
  std::vector<std::int64_t> tokens = tokens_of(routes, expert);
  tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(cap)));
  for (const std::int64_t n : tokens)
    sum += torch::outer(a_ND[n].to(torch::kFloat64), b_ND[n].to(torch::kFloat64));
  return sum;
}

MomentRows picked(const Tensor& x_ND, const model::ops::SortedRoutes& routes) {
  return {x_ND, routes.token_R.const_data_ptr<std::int32_t>()};
}

TEST(Moments, AreTheSumsOverEachExpertsRows) {
  const auto routes = some_routes();
  const Tensor a = fill(1, {kTokens, 9}), b = fill(2, {kTokens, 5});
  Moments picked_rows(kExperts, 9, 5, 1000), sorted_rows(kExperts, 9, 5, 1000);
  picked_rows.add(picked(a, routes), picked(b, routes), routes.ends_E, test_pass());
  const auto sorted = [&](const Tensor& x) {
    return x.index_select(0, routes.token_R.to(torch::kInt64));
  };
  sorted_rows.add({sorted(a)}, {sorted(b)}, routes.ends_E, test_pass());
  for (std::int64_t e = 0; e < kExperts; ++e)
    expect_close(picked_rows.sum_ELR()[e], naive_moments(a, b, routes, e, 1000), 1e-5);
  EXPECT_TRUE(picked_rows.sum_ELR().equal(sorted_rows.sum_ELR()));
  std::int64_t rows = 0;
  for (const std::int64_t n : picked_rows.rows()) rows += n;
  EXPECT_EQ(rows, kTokens * kPerToken);
}

TEST(Moments, OfChunksAreThoseOfTheWhole) {
  const auto whole = some_routes();
  const Tensor x = fill(1, {kTokens, 9});
  Moments together(kExperts, 9, 9, 20), apart(kExperts, 9, 9, 20);
  together.add(picked(x, whole), picked(x, whole), whole.ends_E, test_pass());
  for (std::int64_t first = 0; first < kTokens; first += 20) {
    const std::int64_t count = std::min<std::int64_t>(20, kTokens - first);
    const auto routes = sorted_pairs(some_pairs(kTokens).narrow(0, first, count));
    const Tensor part = x.narrow(0, first, count);
    apart.add(picked(part, routes), picked(part, routes), routes.ends_E, test_pass());
  }
  expect_close(apart.sum_ELR(), together.sum_ELR(), 1e-5);
  EXPECT_EQ(apart.rows(), together.rows());
}

TEST(Moments, ACapCountsAnExpertsFirstRowsAndLeavesTheOthers) {
  const auto routes = some_routes();
  const Tensor x = fill(1, {kTokens, 6});
  Moments capped(kExperts, 6, 6, 20), all(kExperts, 6, 6, 1000);
  capped.add(picked(x, routes), picked(x, routes), routes.ends_E, test_pass());
  all.add(picked(x, routes), picked(x, routes), routes.ends_E, test_pass());
  bool some_capped = false, some_not = false;
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const auto at = static_cast<std::size_t>(e);
    expect_close(capped.sum_ELR()[e], naive_moments(x, x, routes, e, 20), 1e-5);
    EXPECT_EQ(capped.rows()[at], std::min<std::int64_t>(all.rows()[at], 20));
    if (all.rows()[at] > 20) {
      some_capped = true;
    } else {
      EXPECT_TRUE(capped.sum_ELR()[e].equal(all.sum_ELR()[e])) << e;
      some_not = true;
    }
  }
  EXPECT_TRUE(some_capped && some_not);
}

TEST(Moments, HaveTheSameBitsForAnyThreads) {
  const auto routes = some_routes(400);
  const Tensor x = fill(1, {400, 33});
  const auto with = [&](int threads) {
    Moments moments(kExperts, 33, 33, 1000);
    moments.add(picked(x, routes), picked(x, routes), routes.ends_E, test_pass(false, threads));
    return moments.sum_ELR();
  };
  EXPECT_TRUE(with(1).equal(with(3)));
}

// Tokens with 0, 1, 2, 3 rows in turn, some of one expert twice: the cap is of the rows there are.
TEST(Moments, OfRaggedRowsCountEveryRow) {
  std::vector<std::int32_t> first = {0}, experts;
  for (std::int32_t n = 0; n < kTokens; ++n) {
    for (std::int32_t i = 0; i < n % 4; ++i) experts.push_back((n / 4 + i / 2) % 3);
    first.push_back(static_cast<std::int32_t>(experts.size()));
  }
  const auto rows = static_cast<std::int64_t>(experts.size());
  const auto routes =
      model::ops::sort_routes({kExperts, torch::tensor(first, torch::kInt32),
                               torch::tensor(experts, torch::kInt32), torch::ones({rows})},
                              test_pass());
  const Tensor x = fill(1, {kTokens, 9});
  Moments moments(kExperts, 9, 9, 1000);
  moments.add(picked(x, routes), picked(x, routes), routes.ends_E, test_pass());
  for (std::int64_t e = 0; e < kExperts; ++e)
    expect_close(moments.sum_ELR()[e], naive_moments(x, x, routes, e, 1000), 1e-5);
  EXPECT_EQ(row_cap({routes, false}, kTokens, 3), 3 * rows / kExperts);
  EXPECT_EQ(row_cap({some_routes(), false}, 7 * kTokens, 3),
            3 * 7 * kTokens * kPerToken / kExperts);
}

class Letters final : public text::Corpus {
 public:
  Letters() {
    for (int i = 0; i < 5; ++i) {
      std::string text;
      for (int k = 0; k < 100; ++k) text += static_cast<char>('a' + i);
      text += static_cast<char>('A' + i);
      texts_.push_back(text);
    }
    for (const std::string& text : texts_) documents_.push_back(text);
  }
  const std::vector<std::string_view>& documents() const override { return documents_; }

 private:
  std::vector<std::string> texts_;
  std::vector<std::string_view> documents_;
};

using Samples = std::vector<std::vector<text::TokenId>>;
Samples draw(std::int64_t samples, std::uint64_t seed) {
  const auto tokenizer = text::make_byte_tokenizer();
  Samples ids;
  for (SampleText& sample :
       draw_samples(Letters(), *tokenizer, {samples, 10, seed, {tokenizer->end_of_text()}}))
    ids.push_back(std::move(sample.ids));
  return ids;
}

// specs/qmoe 8, acceptance 4: what stands where special tokens do changes nothing while they are masked.
TEST(InputMoments, OfExpertsAreOfTheTokensThatCount) {
  const auto routes = some_routes();
  std::vector<char> counted(kTokens, 1);
  for (std::size_t n = 0; n < counted.size(); n += 3) counted[n] = 0;
  const auto moments_of = [&](const Tensor& x_ND, bool gathered, const std::vector<char>& mask) {
    InputMoments moments({"w"}, kTokens, 1000, test_pass());
    moments.count(mask);
    moments.saw("w", gathered ? x_ND.index_select(0, routes.token_R.to(torch::kInt64)) : x_ND,
                {routes, gathered});
    return moments.of("w");
  };
  const Tensor x = fill(1, {kTokens, 9}), other = x.clone();
  for (std::int64_t n = 0; n < kTokens; n += 3) other[n] = fill(static_cast<int>(n) + 7, {9});
  for (const bool gathered : {false, true}) {
    const Statistics masked = moments_of(x, gathered, counted),
                     changed = moments_of(other, gathered, counted),
                     all = moments_of(x, gathered, {}),
                     all_changed = moments_of(other, gathered, {});
    EXPECT_TRUE(masked.second_moments_EII.equal(changed.second_moments_EII));
    EXPECT_FALSE(all.second_moments_EII.equal(all_changed.second_moments_EII));
    for (std::int64_t e = 0; e < kExperts; ++e) {
      Tensor sum = torch::zeros({9, 9}, torch::kFloat64);
      std::int64_t rows = 0;
      for (const std::int64_t n : tokens_of(routes, e)) {
        if (!counted[static_cast<std::size_t>(n)]) continue;
        sum += torch::outer(x[n].to(torch::kFloat64), x[n].to(torch::kFloat64));
        ++rows;
      }
      expect_close(masked.second_moments_EII[e], sum, 1e-5);
      EXPECT_EQ(masked.tokens[static_cast<std::size_t>(e)], rows);
    }
  }
}

TEST(DrawSamples, ArePiecesOfOneDocumentInTheOrderOfTheText) {
  const Samples all = draw(1000, 1);
  EXPECT_EQ(all.size(), 55u) << "ten pieces of ten tokens and one of one, of each document";
  text::TokenId last = 'a';
  for (const auto& sample : all) {
    EXPECT_EQ(sample[0], text::make_byte_tokenizer()->end_of_text());
    EXPECT_LE(sample.size(), 11u);
    const auto letter = static_cast<text::TokenId>(std::tolower(sample[1]));
    EXPECT_GE(letter, last);
    last = letter;
    for (std::size_t i = 1; i < sample.size(); ++i)
      EXPECT_EQ(static_cast<text::TokenId>(std::tolower(sample[i])), letter);
  }
}

TEST(DrawSamples, DependOnTheSeedAlone) {
  EXPECT_EQ(draw(8, 3), draw(8, 3));
  EXPECT_NE(draw(8, 3), draw(8, 4));
  EXPECT_EQ(draw(8, 3).size(), 8u);
}

TEST(DrawSamples, RefuseACorpusWithoutText) {
  class Nothing final : public text::Corpus {
   public:
    const std::vector<std::string_view>& documents() const override { return documents_; }

   private:
    std::vector<std::string_view> documents_;
  };
  EXPECT_THROW(draw_samples(Nothing(), *text::make_byte_tokenizer(), {}), Error);
}

class Sentences final : public text::Corpus {
 public:
  Sentences() {
    for (int i = 0; i < 40; ++i)
      texts_.push_back(concat("sentence ", i, " is one of ", 100 - i, " others"));
    for (const std::string& text : texts_) documents_.push_back(text);
  }
  const std::vector<std::string_view>& documents() const override { return documents_; }

 private:
  std::vector<std::string> texts_;
  std::vector<std::string_view> documents_;
};

// specs/qmoe 2.1 and 2.4: a closing sentinel and no end in the target; rows of sentinels do not count in the
// source, nor rows that a sentinel follows in the target.
TEST(DrawPairs, HaveQmoesFormAndItsMask) {
  const Sentences corpus;
  const auto tokenizer = text::train_unigram(corpus, 300, 100);
  text::PairOptions options;
  options.source_tokens = 64, options.target_tokens = 64;
  options.spans = {0.3, 1.5};
  for (const bool count_special : {false, true}) {
    const auto samples = draw_pairs(corpus, *tokenizer, {10, 0, 4}, options, count_special);
    ASSERT_EQ(samples.size(), 10u);
    for (const SampleText& sample : samples) {
      const auto is_sentinel = [&](text::TokenId id) {
        return id != text::end_token(*tokenizer) && tokenizer->special(id);
      };
      EXPECT_EQ(sample.source.back(), text::end_token(*tokenizer));
      EXPECT_EQ(sample.ids.front(), text::start_token(*tokenizer));
      EXPECT_TRUE(is_sentinel(sample.ids[1]));
      ASSERT_EQ(sample.source_counted.size(), sample.source.size());
      ASSERT_EQ(sample.counted.size(), sample.ids.size());
      for (std::size_t i = 0; i < sample.source.size(); ++i)
        EXPECT_EQ(sample.source_counted[i] == 1, count_special || !is_sentinel(sample.source[i]));
      for (std::size_t t = 0; t + 1 < sample.ids.size(); ++t)
        EXPECT_EQ(sample.counted[t] == 1, count_special || !is_sentinel(sample.ids[t + 1]));
      EXPECT_EQ(sample.counted.back() == 1, count_special) << "the closing sentinel follows";
    }
  }
}

}  // namespace
}  // namespace mote::compress
