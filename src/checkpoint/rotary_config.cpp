#include "checkpoint/rotary_config.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace mote::checkpoint {
namespace {

double number(std::int64_t n) {
  return static_cast<double>(n);
}

void scale(const NoScaling&, double, std::vector<double>&) {}

void scale(const LinearScaling& c, double, std::vector<double>& frequencies) {
  for (double& f : frequencies) f /= c.factor;
}

void scale(const Llama3Scaling& c, double, std::vector<double>& frequencies) {
  for (double& f : frequencies) {
    const double turns = number(c.context) * f / (2 * std::numbers::pi);
    const double kept = c.high == c.low ? (turns < c.low ? 0.0 : 1.0)
                                        : std::clamp((turns - c.low) / (c.high - c.low), 0.0, 1.0);
    f = (1 - kept) * f / c.factor + kept * f;
  }
}

void scale(const YarnScaling& c, double base, std::vector<double>& frequencies) {
  const double dim = 2 * static_cast<double>(frequencies.size());
  const auto pair_of = [&](double turns) {
    return dim * std::log(number(c.context) / (2 * std::numbers::pi * turns)) /
           (2 * std::log(base));
  };
  double first = pair_of(c.fast), last = pair_of(c.slow);
  if (c.truncate) first = std::floor(first), last = std::ceil(last);
  first = std::max(first, 0.0), last = std::min(last, dim - 1);
  if (first == last) last += 0.001;
  for (std::size_t m = 0; m < frequencies.size(); ++m) {
    const double divided = std::clamp((static_cast<double>(m) - first) / (last - first), 0.0, 1.0);
    frequencies[m] = (1 - divided) * frequencies[m] + divided * frequencies[m] / c.factor;
  }
}

void scale(const LongScaling&, double, std::vector<double>&) {}  // by the sequence's length

std::int64_t dim_of(const RotaryConfig& config, std::int64_t head_dim) {
  return config.dim > 0 ? config.dim : head_dim;
}

}  // namespace

RotaryFrequencies rotary_frequencies(const RotaryConfig& config, std::int64_t head_dim,
                                     std::int64_t positions) {
  const std::int64_t dim = dim_of(config, head_dim);
  RotaryFrequencies frequencies;
  for (std::int64_t m = 0; m < dim / 2; ++m)
    frequencies.of_pair.push_back(std::pow(config.base, -2 * number(m) / number(dim)));
  if (const auto* scaling = config.scaling.get_if<LongScaling>()) {
    const bool is_long = positions > scaling->context;
    const auto& factors = is_long ? scaling->long_factors : scaling->short_factors;
    for (std::size_t m = 0; m < frequencies.of_pair.size(); ++m)
      frequencies.of_pair[m] /= factors[m];
    frequencies.factor = is_long ? scaling->long_scale : scaling->short_scale;
    return frequencies;
  }
  config.scaling.visit([&](const auto& kind) { scale(kind, config.base, frequencies.of_pair); });
  if (const auto* yarn = config.scaling.get_if<YarnScaling>())
    frequencies.factor = yarn->attention_factor;
  return frequencies;
}

std::int64_t most_positions_alike(const RotaryConfig& config) {
  const auto* scaling = config.scaling.get_if<LongScaling>();
  return scaling ? scaling->context : std::numeric_limits<std::int64_t>::max();
}

void check(const RotaryConfig& config, std::int64_t head_dim, const Place& place) {
  const std::int64_t dim = dim_of(config, head_dim);
  if (dim > head_dim || dim % 2 != 0)
    throw_config_error(place.inside("dim"), concat("is ", dim, "; of a head of ", head_dim,
                                                   " columns an even number is turned"));
  const auto* scaling = config.scaling.get_if<LongScaling>();
  if (!scaling) return;
  for (const auto& [name, factors] :
       {std::pair{"short", &scaling->short_factors}, std::pair{"long", &scaling->long_factors}}) {
    const Place of = place.inside("scaling").inside(name);
    if (static_cast<std::int64_t>(factors->size()) != dim / 2)
      throw_config_error(of, concat("has ", factors->size(), " factors, ", dim,
                                    " columns are turned in ", dim / 2, " pairs"));
    for (const double factor : *factors)
      if (!(factor > 0 && factor < 1e6))
        throw_config_error(of, concat("has ", factor, "; factors are above 0 and below 1e6"));
  }
}

}  // namespace mote::checkpoint
