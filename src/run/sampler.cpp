#include "run/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"

namespace mote::run {
namespace {

void check_range(const char* flag, double value, double least, double most) {
  if (!(value >= least && value <= most))
    throw Error(ErrorKind::usage, concat(flag, " ", value, ": must lie in ", least, " to ", most))
        .at(flag);
}

}  // namespace

void validate(const SamplerConfig& config) {
  check_range("--temperature", config.temperature, 0, kMostTemperature);
  check_range("--top-k", static_cast<double>(config.top_k), 0, static_cast<double>(kMostTopK));
  check_range("--typical-p", config.typical_p, 0, 1);
  check_range("--top-p", config.top_p, 0, 1);
  check_range("--min-p", config.min_p, 0, 1);
  check_range("--repeat-penalty", config.repeat_penalty, 1 / kMostPenalty, kMostPenalty);
  check_range("--presence-penalty", config.presence_penalty, -kMostPenalty, kMostPenalty);
  check_range("--frequency-penalty", config.frequency_penalty, -kMostPenalty, kMostPenalty);
  check_range("--repeat-last-n", static_cast<double>(config.repeat_last), -1,
              static_cast<double>(kMostTopK));
}

Sampler::Sampler(const SamplerConfig& config) : config_(config) {
  validate(config_);
}

void Sampler::penalise(std::span<const std::int32_t> history) {
  if (config_.repeat_penalty == 1 && config_.presence_penalty == 0 &&
      config_.frequency_penalty == 0)
    return;
  const auto last = config_.repeat_last < 0
                        ? history.size()
                        : std::min(history.size(), static_cast<std::size_t>(config_.repeat_last));
  std::map<std::int32_t, std::int64_t> count;
  for (const std::int32_t id : history.last(last)) ++count[id];
  for (const auto& [id, times] : count) {
    const auto l = static_cast<double>(logit(id));
    logits_[static_cast<std::size_t>(id)] = static_cast<float>(
        (l > 0 ? l / config_.repeat_penalty : l * config_.repeat_penalty) -
        config_.presence_penalty - config_.frequency_penalty * static_cast<double>(times));
  }
}

void Sampler::keep_top_k() {
  order_.resize(logits_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::size_t kept = order_.size();
  if (config_.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(config_.top_k));
  std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept),
                    order_.end(),
                    [&](std::int32_t a, std::int32_t b) { return comes_before(a, b); });
  order_.resize(kept);
  // Those that biases forbid are the last.
  while (!order_.empty() && logit(order_.back()) == -std::numeric_limits<float>::infinity())
    order_.pop_back();
}

void Sampler::softmax(double temperature) {
  probability_.resize(order_.size());
  const auto first = static_cast<double>(logit(order_[0]));
  double sum = 0;
  for (std::size_t i = 0; i < order_.size(); ++i)
    sum += probability_[i] =
        std::exp((static_cast<double>(logit(order_[i])) - first) / temperature);
  for (double& p : probability_) p /= sum;
}

void Sampler::keep_typical() {
  if (config_.typical_p == 1) return;
  softmax(1);
  double entropy = 0;
  for (const double p : probability_)
    if (p > 0) entropy -= p * std::log(p);
  std::vector<std::size_t> by_distance(order_.size());
  std::iota(by_distance.begin(), by_distance.end(), 0);
  const auto distance = [&](std::size_t i) {
    return std::abs(std::log(probability_[i]) + entropy);
  };
  std::stable_sort(by_distance.begin(), by_distance.end(),
                   [&](std::size_t a, std::size_t b) { return distance(a) < distance(b); });
  double sum = 0;
  std::size_t count = 0;
  while (count < order_.size() && (count == 0 || sum < config_.typical_p))
    sum += probability_[by_distance[count++]];
  by_distance.resize(count);
  std::sort(by_distance.begin(), by_distance.end());
  for (std::size_t i = 0; i < count; ++i) order_[i] = order_[by_distance[i]];
  order_.resize(count);
}

void Sampler::keep_top_p() {
  if (config_.top_p == 1) return;
  softmax(1);
  double sum = 0;
  std::size_t count = 0;
  while (count < order_.size() && (count == 0 || sum < config_.top_p)) sum += probability_[count++];
  order_.resize(count);
}

void Sampler::keep_min_p() {
  if (config_.min_p == 0) return;
  softmax(1);
  std::size_t count = 1;
  while (count < order_.size() && probability_[count] >= config_.min_p * probability_[0]) ++count;
  order_.resize(count);
}

std::int32_t Sampler::next(std::span<const float> logits, std::span<const std::int32_t> history) {
  logits_.assign(logits.begin(), logits.end());
  for (const auto& [id, bias] : config_.biases)
    if (static_cast<std::size_t>(id) < logits_.size())
      logits_[static_cast<std::size_t>(id)] += bias;
  penalise(history);
  if (config_.temperature == 0)
    return static_cast<std::int32_t>(std::max_element(logits_.begin(), logits_.end()) -
                                     logits_.begin());
  keep_top_k();
  if (order_.empty())
    throw Error(ErrorKind::usage, "--logit-bias: leaves no token to draw").at("--logit-bias");
  keep_typical();
  keep_top_p();
  keep_min_p();
  softmax(config_.temperature);
  const Rng rng(config_.seed, Purpose::sampling);
  double left = static_cast<double>(rng.uniform(draws_++));
  for (std::size_t i = 0; i < order_.size(); ++i) {
    left -= probability_[i];
    if (left < 0) return order_[i];
  }
  return order_.back();
}

}  // namespace mote::run
