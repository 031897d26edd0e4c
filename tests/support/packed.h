// Packed weights of random symbols, for tests that need a storage and no method.
#pragma once

#include <memory>

#include "base/rng.h"
#include "kernels/packed/coder.h"
#include "kernels/packed/product/product_cases.h"
#include "model/packed_weight.h"

namespace mote::testing {

inline std::shared_ptr<const kernels::PackedStack> random_packed(const kernels::Coder& coder,
                                                                 const kernels::StackShape& s,
                                                                 std::uint64_t seed) {
  const Rng rng(seed, Purpose::test);
  const std::uint64_t grid = coder.grid == kernels::Grid::two_bit ? 4 : 3;
  std::vector<std::uint8_t> symbols;
  for (std::int64_t i = 0; i < s.experts * s.rows * s.columns; ++i)
    symbols.push_back(static_cast<std::uint8_t>(rng.below(grid, static_cast<std::uint64_t>(i))));
  std::vector<float> levels;
  for (std::int64_t row = 0; row < s.experts * s.rows; ++row) {
    const bool ternary = coder.grid == kernels::Grid::ternary;
    levels.push_back(ternary ? -0.2f : 0.2f);
    levels.push_back(ternary ? 0.2f : 1.0f);
  }
  return std::make_shared<kernels::PackedStack>(
      coder.encode(kernels::view<const std::uint8_t>(symbols.data(), s.experts, s.rows, s.columns),
                   kernels::view<const float>(levels.data(), s.experts, s.rows, 2), serial()));
}

inline model::WeightPtr random_packed_weight(const kernels::Coder& coder,
                                             const model::WeightShape& shape,
                                             const std::string& name, std::uint64_t seed) {
  const auto stack = random_packed(coder, {shape.experts, shape.out, shape.in}, seed);
  return model::make_packed_weight(stack->view(), stack, name, shape.stacked);
}

}  // namespace mote::testing
