#include "model/buffers.h"

namespace mote::model {
namespace {

// Neither the tensor nor a view of it is held by anyone else.
bool free_to_use(const Tensor& x) {
  return x.use_count() == 1 && x.storage().use_count() == 1;
}

}  // namespace

Tensor Buffers::take(at::IntArrayRef sizes, torch::ScalarType type) {
  for (Buffer& buffer : buffers_)
    if (buffer.tensor.sizes() == sizes && buffer.tensor.scalar_type() == type &&
        free_to_use(buffer.tensor)) {
      buffer.idle = 0;
      return buffer.tensor;
    }
  buffers_.push_back({torch::empty(sizes, type)});
  return buffers_.back().tensor;
}

void Buffers::begin_pass(std::int64_t rows) {
  std::erase_if(buffers_, [&](const Buffer& each) { return rows != rows_ || each.idle == 2; });
  for (Buffer& buffer : buffers_) ++buffer.idle;
  rows_ = rows;
}

std::uint64_t Buffers::bytes() const {
  std::uint64_t total = 0;
  for (const Buffer& each : buffers_) total += each.tensor.nbytes();
  return total;
}

}  // namespace mote::model
