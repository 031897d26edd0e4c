#include "base/scratch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/parallel.h"

namespace mote {
namespace {

TEST(Scratch, IsAlignedAndSeparate) {
  Scratch scratch;
  std::vector<std::uint8_t*> parts;
  for (const std::int64_t bytes : {1, 63, 64, 65, 1 << 20, 5 << 20, 3}) {
    parts.push_back(scratch.take<std::uint8_t>(bytes));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(parts.back()) % 64, 0u);
    std::fill_n(parts.back(), bytes, static_cast<std::uint8_t>(parts.size()));
  }
  for (std::size_t i = 0; i < parts.size(); ++i) EXPECT_EQ(*parts[i], i + 1);
}

TEST(Scratch, ScopesNestAndGiveBack) {
  Scratch outer;
  int* kept = outer.take<int>(100);
  std::fill_n(kept, 100, 7);
  const int* before = nullptr;
  for (int round = 0; round < 3; ++round) {
    Scratch inner;
    int* mine = inner.take<int>(100);
    EXPECT_NE(mine, kept);
    if (before) {
      EXPECT_EQ(mine, before);
    }
    before = mine;
    std::fill_n(mine, 100, round);
    Scratch innermost;  // more than any chunk has left: the memory of outer scopes stays
    std::fill_n(innermost.take<int>(3 << 20), 3 << 20, 0);
    EXPECT_EQ(mine[99], round);
  }
  EXPECT_EQ(kept[99], 7);
}

TEST(Scratch, KnowsTheMostThatWasHeldAtOnce) {
  Scratch::take_peak();
  {
    Scratch outer;
    outer.take<std::uint8_t>(1000);  // whole lines: 1024
    for (const std::int64_t bytes : {64, 6400, 640}) {
      Scratch inner;
      inner.take<std::uint8_t>(bytes);
    }
    EXPECT_EQ(Scratch::take_peak(), 1024u + 6400u);
    EXPECT_EQ(Scratch::take_peak(), 1024u);
  }
  EXPECT_EQ(Scratch::take_peak(), 1024u);
  EXPECT_EQ(Scratch::take_peak(), 0u);
}

TEST(Scratch, OfTwoWorkersWithNestedLoopsIsTheirOwn) {
  const ThreadPool pool(2);
  parallel_for(pool, 64, [&](std::int64_t i, int) {
    Scratch scratch;
    auto* mine = scratch.take<std::int64_t>(1000);
    std::fill_n(mine, 1000, i);
    parallel_for(pool, 4, [&](std::int64_t j, int) {
      Scratch inner;
      std::fill_n(inner.take<std::int64_t>(1000), 1000, -j);
    });
    EXPECT_TRUE(std::all_of(mine, mine + 1000, [&](std::int64_t x) { return x == i; }));
  });
}

}  // namespace
}  // namespace mote
