#include "run/sampler.h"

#include <algorithm>
#include <cmath>
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
  check_range("--top-p", config.top_p, 0, 1);
  check_range("--min-p", config.min_p, 0, 1);
  check_range("--repeat-penalty", config.repeat_penalty, 1 / kMostPenalty, kMostPenalty);
}

Sampler::Sampler(const SamplerConfig& config) : config_(config) {
  validate(config_);
}

std::int32_t Sampler::next(std::span<const float> logits, std::span<const std::int32_t> history) {
  logits_.assign(logits.begin(), logits.end());
  if (config_.repeat_penalty != 1) {
    const auto last =
        std::min<std::size_t>(history.size(), static_cast<std::size_t>(config_.repeat_last));
    std::vector<std::int32_t> recent(history.end() - static_cast<std::ptrdiff_t>(last),
                                     history.end());
    std::sort(recent.begin(), recent.end());
    recent.erase(std::unique(recent.begin(), recent.end()), recent.end());
    for (const std::int32_t id : recent) {
      float& l = logits_[static_cast<std::size_t>(id)];
      l = static_cast<float>(l > 0 ? l / config_.repeat_penalty : l * config_.repeat_penalty);
    }
  }
  if (config_.temperature == 0)
    return static_cast<std::int32_t>(std::max_element(logits_.begin(), logits_.end()) -
                                     logits_.begin());

  order_.resize(logits_.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float la = logits_[static_cast<std::size_t>(a)],
                lb = logits_[static_cast<std::size_t>(b)];
    return la != lb ? la > lb : a < b;
  };
  std::size_t kept = order_.size();
  if (config_.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(config_.top_k));
  std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept),
                    order_.end(), before);
  order_.resize(kept);

  const auto softmax = [&](double temperature) {
    probability_.resize(order_.size());
    const auto first = static_cast<double>(logits_[static_cast<std::size_t>(order_[0])]);
    double sum = 0;
    for (std::size_t i = 0; i < order_.size(); ++i)
      sum += probability_[i] =
          std::exp((static_cast<double>(logits_[static_cast<std::size_t>(order_[i])]) - first) /
                   temperature);
    for (double& p : probability_) p /= sum;
  };
  softmax(1);
  if (config_.top_p < 1) {
    double sum = 0;
    std::size_t count = 0;
    while (count < order_.size() && (count == 0 || sum < config_.top_p))
      sum += probability_[count++];
    order_.resize(count);
  }
  if (config_.min_p > 0) {
    std::size_t count = 1;
    while (count < order_.size() && probability_[count] >= config_.min_p * probability_[0]) ++count;
    order_.resize(count);
  }
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
