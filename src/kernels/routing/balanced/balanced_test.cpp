#include "kernels/routing/balanced/balanced.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/core/guarded.h"

namespace mote::kernels {
namespace {

std::vector<std::int32_t> assigned(const std::vector<float>& scores, Index tokens, Index experts) {
  Guarded<std::int32_t> expert(tokens);
  balanced_assignment({view(scores.data(), tokens, experts), view(expert.data(), tokens)});
  return expert.values();
}

double sum_of(const std::vector<float>& scores, Index experts,
              const std::vector<std::int32_t>& expert) {
  double sum = 0;
  for (std::size_t n = 0; n < expert.size(); ++n)
    sum += scores[n * static_cast<std::size_t>(experts) + static_cast<std::size_t>(expert[n])];
  return sum;
}

// The largest sum, by trying everything.
double best_sum(const std::vector<float>& scores, Index tokens, Index experts, Index token,
                std::vector<Index>& room) {
  if (token == tokens) return 0;
  double best = -std::numeric_limits<double>::infinity();
  for (Index e = 0; e < experts; ++e) {
    Index& left = room[static_cast<std::size_t>(e)];
    if (left == 0) continue;
    --left;
    best =
        std::max(best, static_cast<double>(scores[static_cast<std::size_t>(token * experts + e)]) +
                           best_sum(scores, tokens, experts, token + 1, room));
    ++left;
  }
  return best;
}

std::vector<float> drawn(Index count, std::uint64_t seed) {
  const Rng rng(seed, Purpose::test);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(rng.normal(i));
  return values;
}

void expect_balanced(const std::vector<std::int32_t>& expert, Index experts) {
  const auto tokens = static_cast<Index>(expert.size());
  for (Index e = 0; e < experts; ++e)
    EXPECT_LE(std::count(expert.begin(), expert.end(), e), (tokens + experts - 1) / experts) << e;
}

TEST(BalancedAssignment, HasTheLargestSumOfAll) {
  for (std::uint64_t seed = 0; seed < 40; ++seed)
    for (const auto& [tokens, experts] :
         {std::pair<Index, Index>{6, 3}, {7, 3}, {8, 2}, {3, 4}, {5, 5}, {1, 3}, {4, 1}}) {
      const std::vector<float> scores = drawn(tokens * experts, seed);
      const std::vector<std::int32_t> expert = assigned(scores, tokens, experts);
      expect_balanced(expert, experts);
      std::vector<Index> room(static_cast<std::size_t>(experts), (tokens + experts - 1) / experts);
      EXPECT_NEAR(sum_of(scores, experts, expert), best_sum(scores, tokens, experts, 0, room), 1e-6)
          << "seed " << seed << ", " << tokens << " tokens, " << experts << " experts";
    }
}

TEST(BalancedAssignment, SpreadsEqualScoresAndPopularExperts) {
  for (const Index experts : {1, 3, 8, 16}) {
    const Index tokens = 6 * experts;
    std::vector<float> popular = drawn(tokens * experts, 3);
    for (Index n = 0; n < tokens; ++n) popular[static_cast<std::size_t>(n * experts)] += 5;
    for (const auto& scores :
         {std::vector<float>(static_cast<std::size_t>(tokens * experts), 0.3f), popular}) {
      const std::vector<std::int32_t> expert = assigned(scores, tokens, experts);
      for (Index e = 0; e < experts; ++e)
        EXPECT_EQ(std::count(expert.begin(), expert.end(), e), 6) << e;
    }
  }
}

TEST(BalancedAssignment, EndsWithTokensThatAreAllAlike) {
  // Moves to and fro that rounding could make look like gains.
  std::vector<float> scores;
  for (int n = 0; n < 60; ++n)
    for (const float s : {0.1f, -7.3f, 1e6f, 3.3333f}) scores.push_back(s);
  expect_balanced(assigned(scores, 60, 4), 4);
}

TEST(BalancedAssignment, TakesScoresThatAreNotFiniteLast) {
  const float inf = std::numeric_limits<float>::infinity();
  // Both tokens are hidden from expert 1 but one must go there; 0 and 2 have room for one each.
  const std::vector<float> scores = {-5, -inf, -9, 3, -inf, 4, 1, -inf, NAN};
  const std::vector<std::int32_t> expert = assigned(scores, 3, 3);
  expect_balanced(expert, 3);
  EXPECT_EQ(std::count(expert.begin(), expert.end(), 1), 1);
  EXPECT_NE(expert[2], 2);
}

TEST(BalancedAssignment, TakesNoTokensAndRefusesWhatDisagrees) {
  EXPECT_TRUE(assigned({}, 0, 4).empty());
  std::vector<float> scores(6);
  std::vector<std::int32_t> expert(2);
  EXPECT_THROW(
      balanced_assignment({view<const float>(scores.data(), 3, 2), view(expert.data(), 2)}), Error);
}

}  // namespace
}  // namespace mote::kernels
