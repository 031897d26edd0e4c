#include "base/parallel.h"

#include <gtest/gtest.h>
#include <atomic>
#include <numeric>
#include <stdexcept>

namespace mote {
namespace {

TEST(ParallelFor, VisitsEveryIndexOnce) {
  const ThreadPool pool(3);
  for (std::int64_t count : {0, 1, 2, 3, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
    parallel_for(pool, count, [&](std::int64_t i, int worker) {
      ASSERT_GE(worker, 0);
      ASSERT_LT(worker, 3);
      ++visits[static_cast<std::size_t>(i)];
    });
    for (const auto& v : visits) EXPECT_EQ(v, 1);
  }
}

TEST(ParallelFor, NestedCallsRunOnTheCallingWorker) {
  const ThreadPool pool(2);
  std::atomic<int> sum{0};
  parallel_for(pool, 4, [&](std::int64_t, int) {
    parallel_for(pool, 5, [&](std::int64_t i, int) { sum += static_cast<int>(i); });
  });
  EXPECT_EQ(sum, 40);
}

TEST(ParallelFor, RethrowsAWorkersException) {
  const ThreadPool pool(2);
  EXPECT_THROW(parallel_for(pool, 100,
                            [](std::int64_t i, int) {
                              if (i == 57) throw std::runtime_error("57");
                            }),
               std::runtime_error);
  std::atomic<int> after{0};
  parallel_for(pool, 10, [&](std::int64_t, int) { ++after; });
  EXPECT_EQ(after, 10);
}

}  // namespace
}  // namespace mote
