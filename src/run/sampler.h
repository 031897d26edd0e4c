// The next token from logits. Steps, in this order: repeat penalty, top-k, top-p, min-p,
// temperature, one draw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mote::run {

constexpr double kMostTemperature = 1e3, kMostPenalty = 1e3;
constexpr std::int64_t kMostTopK = 1'000'000'000;

struct SamplerConfig {
  double temperature = 0.8;  // 0: the most probable token, the lowest id among equals
  std::int64_t top_k = 40;   // keep the k most probable; 0: all
  double top_p = 0.95;       // then the fewest whose probabilities sum to at least p; 1: all
  double min_p = 0;          // then those at least this share as probable as the first
  double repeat_penalty =
      1.0;  // divides positive logits of the last tokens, multiplies negative ones
  std::int64_t repeat_last = 64;
  std::uint64_t seed = 1;
};

// Throws a usage error naming the flag whose value makes no sense.
void validate(const SamplerConfig& config);

class Sampler {
 public:
  explicit Sampler(const SamplerConfig& config);
  // `logits` of all tokens; `history` is the text so far. Draw number n of a seed is always the
  // same.
  std::int32_t next(std::span<const float> logits, std::span<const std::int32_t> history);

 private:
  const SamplerConfig config_;
  std::uint64_t draws_ = 0;
  std::vector<float> logits_;
  std::vector<std::int32_t> order_;
  std::vector<double> probability_;
};

}  // namespace mote::run
