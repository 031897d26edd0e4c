#include "model/cache.h"

#include <algorithm>

namespace mote::model {

Cache::Cache(const std::vector<Sight>& layers) : layers_(layers.size()) {
  for (std::size_t i = 0; i < layers.size(); ++i) layers_[i].sight = layers[i];
}

namespace {

// `added` behind the first `count` positions of `held`; with `room` > 0 what is kept from `dropped`
// on moves to the front of that much room first.
void put(Tensor& held, const Tensor& added, std::int64_t count, std::int64_t dropped,
         std::int64_t kept, std::int64_t room) {
  if (room > 0) {
    std::vector<std::int64_t> shape = added.sizes().vec();
    shape[1] = room;
    Tensor moved = torch::empty(shape, added.options().requires_grad(false));
    if (kept > 0) moved.narrow(1, 0, kept).copy_(held.narrow(1, dropped, kept));
    held = moved;
  }
  held.narrow(1, count, added.size(1)).copy_(added);
}

}  // namespace

Cache::Seen Cache::append(std::int64_t index, const Tensor& k_BTHC, const Tensor& v_BTHC) {
  Layer& layer = this->layer(index);
  const auto [block, memory] = layer.sight;
  const std::int64_t added = k_BTHC.size(1);
  const std::int64_t needed_from =
      block == 0 ? 0 : std::max<std::int64_t>(0, position_ / block * block - memory);
  const std::int64_t dropped = std::clamp<std::int64_t>(needed_from - layer.first, 0, layer.count);
  const std::int64_t kept = layer.count - dropped;
  const std::int64_t capacity = layer.k_BCHC.defined() ? layer.k_BCHC.size(1) : 0;
  std::int64_t room = 0;  // 0: it fits behind what is there
  if (kept + added > capacity || (dropped > 0 && layer.count + added > capacity)) {
    room = std::max(capacity, kept + added + std::min<std::int64_t>(kept + added, 1024));
    layer.first += dropped;
    layer.count = kept;
  }
  put(layer.k_BCHC, k_BTHC, layer.count, dropped, kept, room);
  put(layer.v_BCHC, v_BTHC, layer.count, dropped, kept, room);
  layer.count += added;
  return {layer.k_BCHC.narrow(1, 0, layer.count), layer.v_BCHC.narrow(1, 0, layer.count),
          layer.first};
}

void Cache::reset() {
  position_ = 0;
  for (Layer& layer : layers_) layer.first = layer.count = 0;
}

std::uint64_t Cache::bytes() const {
  std::uint64_t total = 0;
  for (const Layer& layer : layers_)
    for (const Tensor& t : {layer.k_BCHC, layer.v_BCHC, layer.relative_DHC})
      if (t.defined()) total += t.nbytes();
  return total;
}

}  // namespace mote::model
