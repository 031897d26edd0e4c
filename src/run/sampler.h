// The next token from logits. Steps, in this order: biases, penalties, top-k, typical, top-p, min-p,
// temperature, one draw (specs/checkpoints 6).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace mote::run {

constexpr double kMostTemperature = 1e3, kMostPenalty = 1e3;
constexpr std::int64_t kMostTopK = 1'000'000'000;

struct SamplerConfig {
  double temperature = 0.8;  // 0: the most probable token, the lowest id among equals
  std::int64_t top_k = 40;   // keep the k most probable; 0: all
  // Then the fewest of least |ln p + entropy| whose probabilities sum to at least this share
  // (arXiv 2202.00666); 1: all.
  double typical_p = 1;
  double top_p = 0.95;  // then the fewest whose probabilities sum to at least p; 1: all
  double min_p = 0;     // then those at least this share as probable as the first
  // Of the last `repeat_last` tokens (0: none, -1: all): positive logits are divided, negative ones
  // multiplied by repeat_penalty; presence_penalty is taken off, and frequency_penalty as often as
  // the token is among them.
  double repeat_penalty = 1.0;
  double presence_penalty = 0, frequency_penalty = 0;
  std::int64_t repeat_last = 64;
  // Added to the logits of tokens; minus infinity: never drawn.
  std::vector<std::pair<std::int32_t, float>> biases = {};
  std::uint64_t seed = 1;
};

// Throws a usage error naming the flag whose value makes no sense.
void validate(const SamplerConfig& config);

class Sampler {
 public:
  explicit Sampler(const SamplerConfig& config);
  // `logits` of all tokens; `history` is the text so far. Draw number n of a seed is always the
  // same. Throws a usage error where biases leave no token.
  std::int32_t next(std::span<const float> logits, std::span<const std::int32_t> history);

 private:
  void penalise(std::span<const std::int32_t> history);
  // Each shortens order_, which stays sorted by falling logit, of equal ones by rising id.
  void keep_top_k();
  void keep_typical();
  void keep_top_p();
  void keep_min_p();
  // Of order_, in that order.
  void softmax(double temperature);
  float logit(std::int32_t id) const { return logits_[static_cast<std::size_t>(id)]; }
  bool comes_before(std::int32_t a, std::int32_t b) const {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  }

  const SamplerConfig config_;
  std::uint64_t draws_ = 0;
  std::vector<float> logits_;
  std::vector<std::int32_t> order_;
  std::vector<double> probability_;
};

}  // namespace mote::run
