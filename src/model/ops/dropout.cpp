#include "model/ops/dropout.h"

#include <algorithm>

namespace mote::model::ops {

Tensor bernoulli_mask(std::int64_t rows, std::int64_t columns, double rate, const Rng& rng,
                      const Pass& pass) {
  Tensor mask = torch::empty({rows, columns}, torch::kFloat32);
  float* out = mask.mutable_data_ptr<float>();
  const std::int64_t count = rows * columns, blocks = (count + 3) / 4;
  // A word keeps its element when it is at or above rate * 2^32.
  const auto threshold = static_cast<std::uint64_t>(rate * 0x1p32);
  constexpr std::int64_t kBlocks = 4096;
  parallel_for(*pass.run.executor, (blocks + kBlocks - 1) / kBlocks, [&](std::int64_t item, int) {
    for (std::int64_t b = item * kBlocks; b < std::min(blocks, (item + 1) * kBlocks); ++b) {
      const Block words = rng.block(static_cast<std::uint32_t>(b));
      for (std::int64_t i = 4 * b; i < std::min(count, 4 * b + 4); ++i)
        out[i] = words[static_cast<std::size_t>(i & 3)] >= threshold ? 1.0f : 0.0f;
    }
  });
  return mask;
}

Tensor dropout(const Tensor& x, double rate, std::int64_t site, const Pass& pass) {
  if (!pass.train || rate == 0) return x;
  const Tensor mask = bernoulli_mask(x.numel() / x.size(-1), x.size(-1), rate,
                                     pass.rng(Purpose::dropout, site), pass);
  return x * mask.view(x.sizes()) * (1 / (1 - rate));
}

}  // namespace mote::model::ops
