#include "base/rng.h"

#include <gtest/gtest.h>
#include <cmath>

namespace mote {
namespace {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
TEST(Philox, MatchesKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, NormalNumbersHaveMeanZeroAndVarianceOne) {
  const Rng rng(7, Purpose::test);
  double sum = 0, squares = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal(static_cast<std::uint64_t>(i));
    sum += x, squares += x * x;
  }
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 4 * std::sqrt(2.0 / n));
}

TEST(Rng, StreamsOfDifferentKeysDiffer) {
  const Rng a(1, Purpose::test, 0, 0);
  for (const Rng& b : {Rng(2, Purpose::test, 0, 0), Rng(1, Purpose::dropout, 0, 0),
                       Rng(1, Purpose::test, 1, 0), Rng(1, Purpose::test, 0, 1)})
    EXPECT_NE(a.block(0), b.block(0));
  EXPECT_EQ(a.block(5), Rng(1, Purpose::test).block(5));
}

TEST(Rng, BelowStaysBelow) {
  const Rng rng(3, Purpose::test);
  for (std::uint64_t bound : {1u, 2u, 7u, 1000u})
    for (std::uint64_t i = 0; i < 200; ++i) EXPECT_LT(rng.below(bound, i), bound);
}

}  // namespace
}  // namespace mote
