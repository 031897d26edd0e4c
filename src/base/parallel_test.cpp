#include "base/parallel.h"

#include <gtest/gtest.h>
#include <array>
#include <atomic>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

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

TEST(ParallelFor, NestedLoopsRunOnTheCallingWorkerUnderItsNumber) {
  const ThreadPool pool(3), other(2);
  std::array<std::int64_t, 3> sums{};  // of a worker's own, without locks
  std::int64_t others = 0;
  std::mutex adding;
  parallel_for(pool, 300, [&](std::int64_t, int worker) {
    const auto thread = std::this_thread::get_id();
    const auto nested = [&](std::int64_t i, int inner) {
      EXPECT_EQ(inner, worker);
      EXPECT_EQ(pool.worker(), worker);
      EXPECT_EQ(std::this_thread::get_id(), thread);
      sums[static_cast<std::size_t>(inner)] += i;
    };
    parallel_for(pool, 5, nested);
    parallel_for(pool, 1, nested);
    // Through another pool and back.
    parallel_for(other, 2, [&](std::int64_t, int) {
      std::lock_guard lock(adding);
      ++others;
    });
    parallel_for(serial(), 2, [&](std::int64_t, int) { parallel_for(pool, 5, nested); });
  });
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), std::int64_t{0}), 300 * 30);
  EXPECT_EQ(others, 600);
  EXPECT_EQ(pool.worker(), 0);
  EXPECT_EQ(pool.threads(), 3);
}

TEST(ParallelFor, CallersFromOutsideTakeTurns) {
  const ThreadPool pool(2);
  std::array<std::int64_t, 2> sums{};
  const auto caller = [&] {
    for (int round = 0; round < 50; ++round)
      parallel_for(pool, 8, [&](std::int64_t i, int worker) {
        parallel_for(pool, 3, [&](std::int64_t, int inner) {
          sums[static_cast<std::size_t>(inner)] += i;
          EXPECT_EQ(inner, worker);
        });
      });
  };
  std::thread second(caller);
  caller();
  second.join();
  EXPECT_EQ(sums[0] + sums[1], 2 * 50 * 28 * 3);
}

TEST(Serial, LivesLongerThanTheThreadThatAskedForIt) {
  const Executor* executor = nullptr;
  std::thread([&] { executor = &serial(); }).join();
  int sum = 0;
  parallel_for(*executor, 3, [&](std::int64_t i, int) { sum += static_cast<int>(i); });
  EXPECT_EQ(sum, 3);
  EXPECT_EQ(executor, &serial());
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
