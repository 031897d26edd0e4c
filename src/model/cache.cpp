#include "model/cache.h"

#include <algorithm>
#include <cstring>

namespace mote::model {

Cache::Cache(const std::vector<Sight>& layers) : layers_(layers.size()), sources_(layers.size()) {
  for (std::size_t i = 0; i < layers.size(); ++i) layers_[i].sight = layers[i];
}

namespace {

// `added` behind the first `kept` positions from `dropped` on, which move to the front if they do
// not lie there: in place, or with `room` > 0 to a tensor with that much room.
void put(Tensor& held, const Tensor& added_any, std::int64_t kept, std::int64_t dropped,
         std::int64_t room) {
  const Tensor added = added_any.contiguous();
  const std::int64_t batch = added.size(0), width = added.size(2);
  Tensor to = room > 0 ? torch::empty({batch, room, width}, torch::kFloat32) : held;
  for (std::int64_t b = 0; b < batch; ++b) {
    float* out = to.mutable_data_ptr<float>() + b * to.size(1) * width;
    if (kept > 0 && (room > 0 || dropped > 0))
      std::memmove(out, held.const_data_ptr<float>() + (b * held.size(1) + dropped) * width,
                   static_cast<std::size_t>(kept * width) * sizeof(float));
    std::copy_n(added.const_data_ptr<float>() + b * added.size(1) * width, added.size(1) * width,
                out + kept * width);
  }
  held = to;
}

// Positions that room is made for behind `held` ones, `coming` more being expected; none: unknown.
std::int64_t room_ahead(bool all_stay, std::int64_t held, std::int64_t coming) {
  constexpr std::int64_t kMost = 1024;
  if (coming <= 0) return std::min(held, kMost);
  return std::min(coming, all_stay ? kMost : std::min(held, kMost));
}

}  // namespace

Cache::Seen Cache::append(std::int64_t index, const Tensor& k_BTI, const Tensor& v_BTI) {
  Layer& layer = this->layer(index);
  const auto [block, memory] = layer.sight;
  const std::int64_t added = k_BTI.size(1);
  const std::int64_t needed_from =
      block == 0 ? 0 : std::max<std::int64_t>(0, position_ / block * block - memory);
  std::int64_t dropped = std::clamp<std::int64_t>(needed_from - layer.first, 0, layer.count);
  // Room for another number of sequences, as a search of several texts leaves it, is none.
  const bool has_room = layer.k_BCI.defined() && layer.k_BCI.size(0) == k_BTI.size(0);
  const std::int64_t capacity = has_room ? layer.k_BCI.size(1) : 0;
  // Nothing moves while there is room behind what is held.
  if (layer.count + added <= capacity) dropped = 0;
  const std::int64_t kept = layer.count - dropped;
  // What stays moves to the front, where that leaves room for many tokens; else the room grows.
  const std::int64_t left = capacity - kept - added;
  const bool fits = left >= (dropped == 0 ? 0 : std::min<std::int64_t>(capacity / 4, 1024));
  const std::int64_t room =
      fits ? 0 : kept + added + room_ahead(block == 0, kept + added, expected_ - position_ - added);
  put(layer.k_BCI, k_BTI, kept, dropped, room);
  put(layer.v_BCI, v_BTI, kept, dropped, room);
  layer.first += dropped;
  layer.count = kept + added;
  return {layer.k_BCI, layer.v_BCI, layer.count, layer.first};
}

void Cache::select(const std::vector<std::int64_t>& rows) {
  const Tensor row_B = torch::tensor(rows, torch::kInt64);
  for (Layer& layer : layers_)
    for (Tensor* held : {&layer.k_BCI, &layer.v_BCI})
      if (held->defined()) *held = held->index_select(0, row_B);
  for (Source& source : sources_)
    for (Tensor* held : {&source.k_BSI, &source.v_BSI})
      if (held->defined() && held->size(0) > 1) *held = held->index_select(0, row_B);
  if (source_lengths_B.defined() && source_lengths_B.size(0) > 1)
    source_lengths_B = source_lengths_B.index_select(0, row_B);
}

void Cache::reset() {
  position_ = 0;
  for (Layer& layer : layers_) layer.first = layer.count = 0;
  for (Source& source : sources_) source = {};
  source_lengths_B.reset();
}

std::uint64_t Cache::bytes() const {
  std::uint64_t total = 0;
  for (const Layer& layer : layers_)
    for (const Tensor& t : {layer.k_BCI, layer.v_BCI, layer.relative_DHC})
      if (t.defined()) total += t.nbytes();
  for (const Source& source : sources_)
    for (const Tensor& t : {source.k_BSI, source.v_BSI})
      if (t.defined()) total += t.nbytes();
  return total;
}

}  // namespace mote::model
