// Running independent pieces of work, on threads that the caller provides.
//
// Work is cut by shape, never by the number of threads: each index of a loop writes its own
// outputs, so results have the same bits for any executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace mote {

class Executor {
 public:
  Executor() = default;
  virtual ~Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual int threads() const = 0;
  // Calls body(worker) once on each of up to threads() workers, worker in [0, threads()), and waits
  // for all. The first exception is rethrown here.
  virtual void on_each_worker(const std::function<void(int worker)>& body) const = 0;

  // At least `bytes` of scratch memory, 64-byte aligned, kept between calls and grown when needed.
  // A worker's memory is for one user at a time: whoever runs inside on_each_worker as that worker.
  std::byte* scratch(int worker, std::size_t bytes) const;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  struct Scratch {
    std::unique_ptr<std::byte, Free> memory;
    std::size_t bytes = 0;
  };
  mutable std::mutex scratch_mutex_;
  mutable std::deque<Scratch> scratch_;
};

// The caller's own thread, and that thread's scratch memory.
const Executor& serial();

// Threads that wait between calls, a short while awake and then asleep, so that a loop starts fast
// on an idle machine and a busy one is not kept from other work. A call from inside a call runs on
// the calling worker alone. `on_start` runs first on every thread of the pool.
class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int threads, const std::function<void()>& on_start = {});
  ~ThreadPool() override;
  int threads() const override;
  void on_each_worker(const std::function<void(int)>& body) const override;

 private:
  struct State;
  void helper(int worker);
  void join();
  std::unique_ptr<State> state_;
  std::vector<std::thread> helpers_;
};

// body(i, worker) for every i in [0, count), in increasing order of start; workers take the next
// index when free.
void parallel_for(const Executor& executor, std::int64_t count,
                  const std::function<void(std::int64_t i, int worker)>& body);

// Physical cores this process may run on.
int physical_cores();

}  // namespace mote
