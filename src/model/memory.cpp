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

Memory Memory::of_sequences(std::int64_t first, std::int64_t count) const {
  Memory part;
  for (const Tensor& layer_BMD : layers_BMD)
    part.layers_BMD.push_back(layer_BMD.defined() ? layer_BMD.narrow(0, first, count) : Tensor());
  return part;
}

Memory Memory::joined(const std::vector<Memory>& parts) {
  if (parts.size() == 1) return parts.front();
  Memory all;
  for (std::size_t layer = 0; layer < parts.front().layers_BMD.size(); ++layer) {
    std::vector<Tensor> of_layer;
    for (const Memory& part : parts) of_layer.push_back(part.layers_BMD[layer]);
    all.layers_BMD.push_back(of_layer.front().defined() ? torch::cat(of_layer) : Tensor());
  }
  return all;
}

}  // namespace mote::model
