#include "model/layers/position_bias.h"

#include <algorithm>
#include <cmath>

namespace mote::model {
namespace {

Tensor buckets_by_distance(const checkpoint::Bucketed& config, bool encoder) {
  std::vector<std::int64_t> buckets;
  const std::int64_t farthest = config.max_distance;
  for (std::int64_t before = farthest; before >= (encoder ? -farthest : 0); --before)
    buckets.push_back(position_bucket(-before, config, encoder));
  return torch::tensor(buckets, torch::kInt64);
}

}  // namespace

std::int64_t position_bucket(std::int64_t distance, const checkpoint::Bucketed& config,
                             bool encoder) {
  std::int64_t count = config.buckets, first = 0, apart = std::max<std::int64_t>(-distance, 0);
  if (encoder) {
    count /= 2;
    if (distance > 0) first = count;
    apart = std::abs(distance);
  }
  const std::int64_t exact = count / 2;
  if (apart < exact) return first + apart;
  // In float32, as the published programs.
  const auto log_of = [exact](std::int64_t r) {
    return std::log(static_cast<float>(r) / static_cast<float>(exact));
  };
  const float share = log_of(apart) / log_of(config.max_distance);
  const auto beyond = static_cast<std::int64_t>(share * static_cast<float>(count - exact));
  return first + std::min(count - 1, exact + beyond);
}

PositionBias::PositionBias(const checkpoint::Bucketed& config, std::int64_t dim, bool encoder)
    : config_(config), dim_(dim), bucket_D_(buckets_by_distance(config, encoder)) {}

Tensor PositionBias::by_distance() const {
  return table_BH_.index_select(0, bucket_D_).t().contiguous();
}

void PositionBias::visit(const std::string& name, ParameterVisitor& visitor) {
  visitor.tensor({name + ".weight",
                  {config_.buckets, config_.heads},
                  {Init::Kind::normal, 1 / std::sqrt(static_cast<double>(dim_))}},
                 table_BH_);
}

}  // namespace mote::model
