#include "model/cache.h"

#include <algorithm>

namespace mote::model {

Cache::Cache(const std::vector<Sight>& layers) : layers_(layers.size()) {
  for (std::size_t i = 0; i < layers.size(); ++i) layers_[i].sight = layers[i];
}

Cache::Seen Cache::append(std::int64_t index, const Tensor& kv_BTH2C) {
  Layer& layer = this->layer(index);
  const auto [block, memory] = layer.sight;
  const std::int64_t added = kv_BTH2C.size(1);
  const std::int64_t needed_from =
      block == 0 ? 0 : std::max<std::int64_t>(0, position_ / block * block - memory);
  const std::int64_t dropped = std::clamp<std::int64_t>(needed_from - layer.first, 0, layer.count);
  const std::int64_t kept = layer.count - dropped;
  const std::int64_t capacity = layer.kv_BCH2C.defined() ? layer.kv_BCH2C.size(1) : 0;
  if (kept + added > capacity || (dropped > 0 && layer.count + added > capacity)) {
    // Move what is kept to the front, into more room where it does not fit.
    const std::int64_t room =
        std::max(capacity, kept + added + std::min<std::int64_t>(kept + added, 1024));
    std::vector<std::int64_t> shape = kv_BTH2C.sizes().vec();
    shape[1] = room;
    Tensor moved = torch::empty(shape, kv_BTH2C.options().requires_grad(false));
    if (kept > 0) moved.narrow(1, 0, kept).copy_(layer.kv_BCH2C.narrow(1, dropped, kept));
    layer.kv_BCH2C = moved;
    layer.first += dropped;
    layer.count = kept;
  }
  layer.kv_BCH2C.narrow(1, layer.count, added).copy_(kv_BTH2C);
  layer.count += added;
  return {layer.kv_BCH2C.narrow(1, 0, layer.count), layer.first};
}

void Cache::reset() {
  position_ = 0;
  for (Layer& layer : layers_) layer.first = layer.count = 0;
}

std::uint64_t Cache::bytes() const {
  std::uint64_t total = 0;
  for (const Layer& layer : layers_)
    for (const Tensor& t : {layer.kv_BCH2C, layer.relative_DHC})
      if (t.defined()) total += t.nbytes();
  return total;
}

}  // namespace mote::model
