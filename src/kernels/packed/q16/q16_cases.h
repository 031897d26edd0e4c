// Random ternary matrices for tests and benchmarks of the q16 kernels.
#pragma once

#include <vector>

#include "base/rng.h"
#include "kernels/packed/q16/q16.h"

namespace mote::kernels {

// Independent trits: 0 with probability p0, else 1 or 2 alike.
inline std::vector<std::uint8_t> random_trits(Index count, double p0, std::uint64_t seed) {
  const Rng rng(seed, Purpose::test);
  std::vector<std::uint8_t> trits(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < trits.size(); ++i) {
    const double u = static_cast<double>(rng.uniform(i));
    trits[i] = u < p0 ? 0 : u < p0 + (1 - p0) / 2 ? 1 : 2;
  }
  return trits;
}

// Levels per row: a minimum in [-1, 0) and a maximum in (0, 1], as bf16.
inline std::vector<Bf16> random_levels(Index rows, std::uint64_t seed) {
  const Rng rng(seed, Purpose::test, 1);
  std::vector<Bf16> levels(static_cast<std::size_t>(2 * rows));
  for (std::size_t i = 0; i < levels.size(); ++i)
    levels[i] = to_bf16((i % 2 == 0 ? -1.0f : 1.0f) * (0.1f + 0.9f * rng.uniform(i)));
  return levels;
}

struct Q16Case {
  Index experts, rows, columns;
  double p0;
};

struct Q16Random {
  std::vector<std::uint8_t> trits_ERC;
  Q16Encoded encoded;
};

inline Q16Random random_q16(const Q16Case& shape, std::uint64_t seed) {
  Q16Random made;
  made.trits_ERC = random_trits(shape.experts * shape.rows * shape.columns, shape.p0, seed);
  const std::vector<Bf16> levels = random_levels(shape.experts * shape.rows, seed);
  made.encoded = q16_encode(view(static_cast<const std::uint8_t*>(made.trits_ERC.data()),
                                 shape.experts, shape.rows, shape.columns),
                            view(levels.data(), shape.experts, shape.rows, Index{2}));
  return made;
}

}  // namespace mote::kernels
