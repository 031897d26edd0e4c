#include "model/memory.h"

namespace mote::model {

Tensor Memory::exchange(std::int64_t layer, const Tensor& x_BTD, std::int64_t keep) {
  if (keep == 0) return {};
  const auto at = static_cast<std::size_t>(layer);
  if (layers_BMD.size() <= at) layers_BMD.resize(at + 1);
  const Tensor past = layers_BMD[at], now = x_BTD.detach();
  const Tensor all = past.defined() && keep > now.size(1) ? torch::cat({past, now}, 1) : now;
  layers_BMD[at] = all.size(1) > keep ? all.narrow(1, all.size(1) - keep, keep) : all;
  return past;
}

}  // namespace mote::model
