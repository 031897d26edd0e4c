// Random two-bit matrices for tests and benchmarks.
#pragma once

#include <vector>

#include "base/rng.h"
#include "kernels/packed/two_bit/two_bit.h"

namespace mote::kernels {

struct TwoBitRandom {
  Index experts, rows, columns;
  std::vector<std::uint8_t> codes_ERC;  // one per weight
  std::vector<std::uint8_t> packed, zeros;
  std::vector<Bf16> scales;

  TwoBitRandom(Index num_experts, Index num_rows, Index num_columns, std::uint64_t seed)
      : experts(num_experts), rows(num_rows), columns(num_columns) {
    const Rng rng(seed, Purpose::test);
    const Index total = experts * rows, bytes = two_bit_bytes(columns);
    codes_ERC.resize(static_cast<std::size_t>(total * columns));
    for (std::size_t i = 0; i < codes_ERC.size(); ++i)
      codes_ERC[i] = static_cast<std::uint8_t>(rng.below(4, i));
    packed.resize(static_cast<std::size_t>(total * bytes));
    const Rng levels(seed, Purpose::test, 1);
    for (Index r = 0; r < total; ++r) {
      two_bit_pack_row(codes_ERC.data() + r * columns, columns, packed.data() + r * bytes);
      scales.push_back(to_bf16(0.1f + levels.uniform(static_cast<std::uint64_t>(r))));
      zeros.push_back(static_cast<std::uint8_t>(r % 4));
    }
  }
  TwoBitExperts view() const {
    return {columns, kernels::view(packed.data(), experts, rows, two_bit_bytes(columns)),
            kernels::view(scales.data(), experts, rows),
            kernels::view(zeros.data(), experts, rows)};
  }
  // float32 [E, rows, columns].
  std::vector<float> dense() const {
    std::vector<float> weights;
    for (Index i = 0; i < static_cast<Index>(codes_ERC.size()); ++i) {
      const Index row = i / columns;
      weights.push_back(
          view().expert(row / rows).value(row % rows, codes_ERC[static_cast<std::size_t>(i)]));
    }
    return weights;
  }
};

}  // namespace mote::kernels
