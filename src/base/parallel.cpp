#include "base/parallel.h"

#include <sched.h>
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <new>
#include <set>
#include <string>
#include <system_error>

#include "base/check.h"

namespace mote {
namespace {

class Serial final : public Executor {
 public:
  int threads() const override { return 1; }
  void on_each_worker(const std::function<void(int)>& body) const override { body(0); }
};

thread_local bool inside_pool = false;

}  // namespace

const Executor& serial() {
  thread_local const Serial executor;
  return executor;
}

void Executor::Free::operator()(std::byte* memory) const {
  std::free(memory);
}

std::byte* Executor::scratch(int worker, std::size_t bytes) const {
  std::lock_guard lock(scratch_mutex_);
  const auto index = static_cast<std::size_t>(worker);
  while (scratch_.size() <= index) scratch_.emplace_back();
  Scratch& mine = scratch_[index];
  if (mine.bytes < bytes) {
    const std::size_t rounded = (bytes + 63) / 64 * 64;
    mine.memory.reset();
    mine.bytes = 0;
    mine.memory.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
    if (!mine.memory) throw std::bad_alloc();
    mine.bytes = rounded;
  }
  return mine.memory.get();
}

struct ThreadPool::State {
  std::mutex callers;  // one loop at a time
  const std::function<void(int)>* body = nullptr;
  std::atomic<std::uint64_t> round{0};  // a new value starts a loop
  std::atomic<int> running{0};          // helpers still at it
  std::atomic<bool> stop{false};
  std::mutex failing;
  std::exception_ptr failure;

  void run(const std::function<void(int)>& work, int worker) {
    try {
      work(worker);
    } catch (...) {
      std::lock_guard lock(failing);
      if (!failure) failure = std::current_exception();
    }
  }
};

namespace {

// Waits until `value` is no longer `old`.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old) {
  constexpr int kAwake = 64;  // some 20 us
  for (int i = 0; i < kAwake; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    std::this_thread::yield();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads, const std::function<void()>& on_start)
    : state_(std::make_unique<State>()) {
  try {
    for (int worker = 1; worker < threads; ++worker)
      helpers_.emplace_back([this, worker, on_start] {
        if (on_start) on_start();
        helper(worker);
      });
  } catch (const std::system_error& error) {
    join();
    throw Error(ErrorKind::system, concat("cannot start thread ", helpers_.size() + 1, " of ",
                                          threads, ": ", error.what(), "; ask for fewer threads"))
        .at("--threads");
  }
}

ThreadPool::~ThreadPool() {
  join();
}

void ThreadPool::join() {
  state_->stop = true;
  ++state_->round;
  state_->round.notify_all();
  for (std::thread& thread : helpers_) thread.join();
}

int ThreadPool::threads() const {
  return inside_pool ? 1 : static_cast<int>(helpers_.size()) + 1;
}

void ThreadPool::helper(int worker) {
  inside_pool = true;
  std::uint64_t seen = 0;
  for (;;) {
    wait_for_change(state_->round, seen);
    ++seen;
    if (state_->stop) return;
    state_->run(*state_->body, worker);
    if (state_->running.fetch_sub(1, std::memory_order_acq_rel) == 1) state_->running.notify_one();
  }
}

void ThreadPool::on_each_worker(const std::function<void(int)>& body) const {
  if (inside_pool || helpers_.empty()) return body(0);
  std::lock_guard one_caller(state_->callers);
  state_->body = &body;
  state_->failure = nullptr;
  state_->running = static_cast<int>(helpers_.size());
  state_->round.fetch_add(1, std::memory_order_release);
  state_->round.notify_all();
  inside_pool = true;
  state_->run(body, 0);
  inside_pool = false;
  for (int left; (left = state_->running.load(std::memory_order_acquire)) != 0;)
    wait_for_change(state_->running, left);
  if (state_->failure) std::rethrow_exception(state_->failure);
}

void parallel_for(const Executor& executor, std::int64_t count,
                  const std::function<void(std::int64_t, int)>& body) {
  if (count <= 0) return;
  if (count == 1 || executor.threads() == 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  std::atomic<std::int64_t> next{0};
  executor.on_each_worker([&](int worker) {
    for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;)
      body(i, worker);
  });
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;  // "package:core" of each processor we may use
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string package, core;
    std::ifstream(folder + "physical_package_id") >> package;
    std::ifstream(folder + "core_id") >> core;
    cores.insert(core.empty() ? std::to_string(cpu) : concat(package, ":", core));
  }
  return std::max<int>(1, static_cast<int>(cores.size()));
}

}  // namespace mote
