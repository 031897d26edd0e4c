#include "base/parallel.h"

#include <sched.h>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <system_error>

#include "base/cgroup.h"
#include "base/check.h"

namespace mote {
namespace {

class Serial final : public Executor {
 public:
  int threads() const override { return 1; }
  int worker() const override { return 0; }
  void on_each_worker(FunctionRef<void(int)> body) const override { body(0); }
};

// The loops that this thread is inside of, the innermost first.
struct Inside {
  const Executor* pool;
  int worker;
  const Inside* outer;
};
thread_local const Inside* inside = nullptr;

// The one of that pool, or null.
const Inside* inside_of(const Executor* pool) {
  const Inside* loop = inside;
  while (loop && loop->pool != pool) loop = loop->outer;
  return loop;
}

}  // namespace

const Executor& serial() {
  static const Serial executor;
  return executor;
}

struct ThreadPool::State {
  std::mutex callers;  // one loop at a time
  const FunctionRef<void(int)>* body = nullptr;
  std::atomic<std::uint64_t> round{0};  // a new value starts a loop
  std::atomic<int> running{0};          // helpers still at it
  std::atomic<bool> stop{false};
  std::vector<std::atomic<int>> core_of_helper;
  std::mutex failing;
  std::exception_ptr failure;

  // Threads that give way to each other on one core stay there, however idle another one is; who is woken
  // goes to it.
  bool helper_is_on_this_core() const {
    const int here = sched_getcpu();
    return std::any_of(core_of_helper.begin(), core_of_helper.end(),
                       [&](const std::atomic<int>& core) { return core == here; });
  }

  void run(const Executor* pool, FunctionRef<void(int)> work, int worker) {
    const Inside here{pool, worker, inside};
    inside = &here;
    try {
      work(worker);
    } catch (...) {
      std::lock_guard lock(failing);
      if (!failure) failure = std::current_exception();
    }
    inside = here.outer;
  }
};

namespace {

// Waits until `value` is no longer `old`, giving way at first instead of sleeping.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old, bool give_way = true) {
  const int awake = give_way ? 64 : 0;  // some 20 us
  for (int i = 0; i < awake; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    std::this_thread::yield();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads, const std::function<void()>& on_start)
    : state_(std::make_unique<State>()) {
  state_->core_of_helper =
      std::vector<std::atomic<int>>(static_cast<std::size_t>(std::max(1, threads) - 1));
  for (std::atomic<int>& core : state_->core_of_helper) core = -1;
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
  return static_cast<int>(helpers_.size()) + 1;
}

int ThreadPool::worker() const {
  const Inside* loop = inside_of(this);
  return loop ? loop->worker : 0;
}

void ThreadPool::helper(int worker) {
  std::uint64_t seen = 0;
  for (;;) {
    wait_for_change(state_->round, seen);
    ++seen;
    if (state_->stop) return;
    state_->core_of_helper[static_cast<std::size_t>(worker - 1)] = sched_getcpu();
    state_->run(this, *state_->body, worker);
    if (state_->running.fetch_sub(1, std::memory_order_acq_rel) == 1) state_->running.notify_one();
  }
}

void ThreadPool::on_each_worker(FunctionRef<void(int)> body) const {
  if (const Inside* loop = inside_of(this)) return body(loop->worker);
  if (helpers_.empty()) return body(0);
  std::lock_guard one_caller(state_->callers);
  state_->body = &body;
  state_->failure = nullptr;
  state_->running = static_cast<int>(helpers_.size());
  state_->round.fetch_add(1, std::memory_order_release);
  state_->round.notify_all();
  state_->run(this, body, 0);
  for (int left; (left = state_->running.load(std::memory_order_acquire)) != 0;)
    wait_for_change(state_->running, left, !state_->helper_is_on_this_core());
  if (state_->failure) std::rethrow_exception(state_->failure);
}

void parallel_for(const Executor& executor, std::int64_t count,
                  FunctionRef<void(std::int64_t, int)> body) {
  if (count <= 0) return;
  if (count == 1 || executor.threads() == 1) {
    const int worker = executor.worker();
    for (std::int64_t i = 0; i < count; ++i) body(i, worker);
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
  const double quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  return std::max(1,
                  static_cast<int>(std::min(static_cast<double>(cores.size()), std::ceil(quota))));
}

}  // namespace mote
