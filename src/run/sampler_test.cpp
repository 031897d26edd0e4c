#include "run/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/check.h"

namespace mote::run {
namespace {

constexpr int kDraws = 4000;

// How often each token was drawn.
std::map<std::int32_t, int> draws(const SamplerConfig& config, const std::vector<float>& logits,
                                  const std::vector<std::int32_t>& history = {}) {
  Sampler sampler(config);
  std::map<std::int32_t, int> count;
  for (int i = 0; i < kDraws; ++i) ++count[sampler.next(logits, history)];
  return count;
}

std::vector<std::int32_t> tokens_drawn(const SamplerConfig& config,
                                       const std::vector<float>& logits) {
  std::vector<std::int32_t> tokens;
  for (const auto& [token, n] : draws(config, logits)) tokens.push_back(token);
  return tokens;
}

SamplerConfig plain() {
  SamplerConfig config;
  config.temperature = 1, config.top_k = 0, config.top_p = 1;
  return config;
}

// Probabilities 0.4, 0.3, 0.2, 0.1 for the tokens 2, 0, 3, 1.
const std::vector<float> kLogits = {std::log(0.3f), std::log(0.1f), std::log(0.4f), std::log(0.2f)};

TEST(Sampler, ZeroTemperatureTakesTheLowestIdAmongTheMostProbable) {
  SamplerConfig config;
  config.temperature = 0;
  EXPECT_EQ(tokens_drawn(config, {1, 3, 2, 3}), std::vector<std::int32_t>{1});
}

TEST(Sampler, DrawsAsOftenAsTokensAreProbable) {
  // Four standard deviations of a binomial count.
  const std::vector<double> p = {0.3, 0.1, 0.4, 0.2};
  for (const auto& [token, n] : draws(plain(), kLogits)) {
    const double want = p[static_cast<std::size_t>(token)];
    EXPECT_NEAR(n, kDraws * want, 4 * std::sqrt(kDraws * want * (1 - want))) << token;
  }
}

TEST(Sampler, TemperatureDividesLogits) {
  SamplerConfig config = plain();
  config.temperature = 0.5;  // probabilities 0.9, 0.1 of 3:1 become 9:1
  const auto count = draws(config, {std::log(3.0f), 0});
  EXPECT_NEAR(count.at(0), kDraws * 0.9, 4 * std::sqrt(kDraws * 0.09));
}

TEST(Sampler, TopKKeepsTheMostProbableAndOfEqualOnesTheLowestIds) {
  SamplerConfig config = plain();
  config.top_k = 2;
  EXPECT_EQ(tokens_drawn(config, kLogits), (std::vector<std::int32_t>{0, 2}));
  EXPECT_EQ(tokens_drawn(config, {1, 1, 1, 1}), (std::vector<std::int32_t>{0, 1}));
  config.top_k = 100;
  EXPECT_EQ(tokens_drawn(config, kLogits).size(), 4u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachTheShare) {
  SamplerConfig config = plain();
  for (const auto& [p, kept] : std::map<double, std::size_t>{
           {0.0, 1}, {0.39, 1}, {0.41, 2}, {0.69, 2}, {0.71, 3}, {1.0, 4}}) {
    config.top_p = p;
    EXPECT_EQ(tokens_drawn(config, kLogits).size(), kept) << p;
  }
}

TEST(Sampler, MinPIsAShareOfTheMostProbable) {
  SamplerConfig config = plain();
  for (const auto& [p, kept] :
       std::map<double, std::size_t>{{0.0, 4}, {0.26, 3}, {0.51, 2}, {0.76, 1}, {1.0, 1}}) {
    config.min_p = p;
    EXPECT_EQ(tokens_drawn(config, kLogits).size(), kept) << p;
  }
}

TEST(Sampler, RepeatPenaltyLowersWhatStandsInTheLastTokens) {
  SamplerConfig config;
  config.temperature = 0;
  config.repeat_penalty = 2;
  config.repeat_last = 2;
  const std::vector<float> positive = {1.0f, 1.5f, 0.4f}, negative = {-1.0f, -0.6f, -3.0f};
  const std::vector<std::int32_t> old = {1, 2, 2};
  Sampler sampler(config);
  EXPECT_EQ(sampler.next(positive, {}), 1);
  EXPECT_EQ(sampler.next(positive, std::vector<std::int32_t>{1, 1, 2}), 0) << "1.5 / 2 once";
  EXPECT_EQ(sampler.next(positive, old), 1) << "token 1 is out of the last two";
  EXPECT_EQ(sampler.next(negative, std::vector<std::int32_t>{1}), 0) << "-0.6 * 2";
}

TEST(Sampler, PresenceAndFrequencyPenaltiesAreTakenOff) {
  SamplerConfig config;
  config.temperature = 0;
  config.presence_penalty = 0.5;
  Sampler presence(config);
  const std::vector<float> logits = {1.0f, 1.4f, 0.4f};
  EXPECT_EQ(presence.next(logits, std::vector<std::int32_t>{1, 1, 1}), 0) << "1.4 - 0.5";
  config.presence_penalty = 0;
  config.frequency_penalty = 0.3;
  Sampler frequency(config);
  EXPECT_EQ(frequency.next(logits, std::vector<std::int32_t>{1}), 1) << "1.4 - 0.3";
  EXPECT_EQ(frequency.next(logits, std::vector<std::int32_t>{1, 1}), 0) << "1.4 - 2 * 0.3";
  config.repeat_last = 0;
  EXPECT_EQ(Sampler(config).next(logits, std::vector<std::int32_t>{1, 1}), 1) << "none count";
  config.repeat_last = -1;
  EXPECT_EQ(Sampler(config).next(logits, std::vector<std::int32_t>(1000, 1)), 0) << "all count";
}

// Entropy 1.28: ln p + entropy is 0.36 for 0.4, 0.08 for 0.3, -0.33 for 0.2, -1.02 for 0.1.
TEST(Sampler, TypicalKeepsWhatIsAsSurprisingAsUsual) {
  SamplerConfig config = plain();
  for (const auto& [p, kept] : std::map<double, std::vector<std::int32_t>>{
           {0.0, {0}}, {0.29, {0}}, {0.31, {0, 3}}, {0.51, {0, 2, 3}}, {0.95, {0, 1, 2, 3}}}) {
    config.typical_p = p;
    EXPECT_EQ(tokens_drawn(config, kLogits), kept) << p;
  }
}

TEST(Sampler, BiasesAreAddedAndForbid) {
  SamplerConfig config = plain();
  config.biases = {{2, -INFINITY}, {1, -INFINITY}};
  EXPECT_EQ(tokens_drawn(config, kLogits), (std::vector<std::int32_t>{0, 3}));
  config.temperature = 0;
  config.biases = {{1, 100.f}, {99, 7.f}};
  EXPECT_EQ(tokens_drawn(config, kLogits), std::vector<std::int32_t>{1});
  config.temperature = 1;
  config.biases = {{0, -INFINITY}, {1, -INFINITY}, {2, -INFINITY}, {3, -INFINITY}};
  Sampler none(config);
  EXPECT_THROW(none.next(kLogits, {}), Error);
}

TEST(Sampler, ASeedRepeatsItsDraws) {
  const auto sequence = [](std::uint64_t seed) {
    SamplerConfig config = plain();
    config.seed = seed;
    Sampler sampler(config);
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.next(kLogits, {}));
    return tokens;
  };
  EXPECT_EQ(sequence(1), sequence(1));
  EXPECT_NE(sequence(1), sequence(2));
}

TEST(Sampler, RefusesWhatMakesNoSense) {
  const auto refused = [](auto change) {
    SamplerConfig config;
    change(config);
    EXPECT_THROW(validate(config), Error);
  };
  refused([](SamplerConfig& c) { c.temperature = -0.1; });
  refused([](SamplerConfig& c) { c.temperature = NAN; });
  refused([](SamplerConfig& c) { c.top_k = -1; });
  refused([](SamplerConfig& c) { c.top_p = 1.1; });
  refused([](SamplerConfig& c) { c.min_p = -0.1; });
  refused([](SamplerConfig& c) { c.repeat_penalty = 0; });
  refused([](SamplerConfig& c) { c.typical_p = 1.5; });
  refused([](SamplerConfig& c) { c.presence_penalty = NAN; });
  refused([](SamplerConfig& c) { c.frequency_penalty = 1e9; });
  refused([](SamplerConfig& c) { c.repeat_last = -2; });
}

}  // namespace
}  // namespace mote::run
