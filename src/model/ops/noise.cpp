#include "model/ops/noise.h"

#include <algorithm>

namespace mote::model::ops {
namespace {

template <class Draw>
Tensor drawn(std::int64_t rows, std::int64_t columns, const Pass& pass, const Draw& draw) {
  Tensor x = torch::empty({rows, columns}, torch::kFloat32);
  float* out = x.mutable_data_ptr<float>();
  const std::int64_t count = rows * columns;
  constexpr std::int64_t kPart = 16384;
  parallel_for(*pass.run.executor, (count + kPart - 1) / kPart, [&](std::int64_t item, int) {
    for (std::int64_t i = item * kPart; i < std::min(count, (item + 1) * kPart); ++i)
      out[i] = static_cast<float>(draw(static_cast<std::uint64_t>(i)));
  });
  return x;
}

}  // namespace

Tensor normal_numbers(std::int64_t rows, std::int64_t columns, const Rng& rng, const Pass& pass) {
  return drawn(rows, columns, pass, [&](std::uint64_t i) { return rng.normal(i); });
}

Tensor uniform_numbers(std::int64_t rows, std::int64_t columns, const Rng& rng, const Pass& pass) {
  return drawn(rows, columns, pass, [&](std::uint64_t i) { return rng.uniform(i); });
}

}  // namespace mote::model::ops
