#include "model/layers/rotary.h"

#include <algorithm>
#include <cmath>

namespace mote::model {

RotaryTable::RotaryTable(const checkpoint::RotaryConfig& config, std::int64_t head_dim)
    : frequencies_(checkpoint::rotary_frequencies(config, head_dim)),
      pairs_(config.pairs == checkpoint::RotaryPairs::halves ? kernels::RotaryPairs::halves
                                                             : kernels::RotaryPairs::adjacent) {}

ops::RotaryRows RotaryTable::up_to(std::int64_t count) const {
  const std::lock_guard lock(mutex_);
  const std::int64_t there = rows_.cos_PM.defined() ? rows_.cos_PM.size(0) : 0;
  if (there >= count) return rows_;
  const std::int64_t positions = std::max({count, 2 * there, std::int64_t{64}}),
                     pairs = static_cast<std::int64_t>(frequencies_.of_pair.size());
  const auto options = torch::TensorOptions(torch::kFloat32).requires_grad(false);
  rows_ = {torch::empty({positions, pairs}, options), torch::empty({positions, pairs}, options)};
  float *cos = rows_.cos_PM.mutable_data_ptr<float>(),
        *sin = rows_.sin_PM.mutable_data_ptr<float>();
  for (std::int64_t p = 0; p < positions; ++p)
    for (const double frequency : frequencies_.of_pair) {
      const double angle = static_cast<double>(p) * frequency;
      *cos++ = static_cast<float>(frequencies_.factor * std::cos(angle));
      *sin++ = static_cast<float>(frequencies_.factor * std::sin(angle));
    }
  return rows_;
}

std::shared_ptr<const RotaryTable> RotaryTables::of(const checkpoint::RotaryConfig& config,
                                                    std::int64_t head_dim) {
  const Json key = {to_json(config), head_dim};
  for (const auto& [known, table] : tables_)
    if (known == key) return table;
  return tables_.emplace_back(key, std::make_shared<RotaryTable>(config, head_dim)).second;
}

}  // namespace mote::model
