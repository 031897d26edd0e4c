#include "model/layers/rotary.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mote::model {

RotaryTable::RotaryTable(const checkpoint::RotaryConfig& config, std::int64_t head_dim)
    : pairs_(config.pairs == checkpoint::RotaryPairs::halves ? kernels::RotaryPairs::halves
                                                             : kernels::RotaryPairs::adjacent) {
  constexpr auto kAny = std::numeric_limits<std::int64_t>::max();
  const std::int64_t alike = checkpoint::most_positions_alike(config);
  turns_.push_back({alike, checkpoint::rotary_frequencies(config, head_dim)});
  if (alike < kAny)
    turns_.push_back({kAny, checkpoint::rotary_frequencies(config, head_dim, kAny)});
}

ops::RotaryRows RotaryTable::up_to(std::int64_t count) const {
  const std::lock_guard lock(mutex_);
  Turns& turns = *std::find_if(turns_.begin(), turns_.end(),
                               [&](const Turns& t) { return count <= t.positions; });
  ops::RotaryRows& rows = turns.rows;
  const checkpoint::RotaryFrequencies& frequencies = turns.frequencies;
  const std::int64_t there = rows.cos_PM.defined() ? rows.cos_PM.size(0) : 0;
  if (there >= count) return rows;
  const std::int64_t positions = std::max({count, 2 * there, std::int64_t{64}}),
                     pairs = static_cast<std::int64_t>(frequencies.of_pair.size());
  const auto options = torch::TensorOptions(torch::kFloat32).requires_grad(false);
  rows = {torch::empty({positions, pairs}, options), torch::empty({positions, pairs}, options)};
  float *cos = rows.cos_PM.mutable_data_ptr<float>(), *sin = rows.sin_PM.mutable_data_ptr<float>();
  for (std::int64_t p = 0; p < positions; ++p)
    for (const double frequency : frequencies.of_pair) {
      const double angle = static_cast<double>(p) * frequency;
      *cos++ = static_cast<float>(frequencies.factor * std::cos(angle));
      *sin++ = static_cast<float>(frequencies.factor * std::sin(angle));
    }
  return rows;
}

std::shared_ptr<const RotaryTable> RotaryTables::of(const checkpoint::RotaryConfig& config,
                                                    std::int64_t head_dim) {
  const Json key = {to_json(config), head_dim};
  for (const auto& [known, table] : tables_)
    if (known == key) return table;
  return tables_.emplace_back(key, std::make_shared<RotaryTable>(config, head_dim)).second;
}

std::shared_ptr<const RotaryTable> rotary_table(const checkpoint::RotaryConfig& config,
                                                std::int64_t head_dim, const LayerPlace& place) {
  RotaryTables own;
  return (place.rotary_tables ? *place.rotary_tables : own).of(config, head_dim);
}

}  // namespace mote::model
