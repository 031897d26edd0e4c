// Running independent pieces of work, on threads that the caller provides.
//
// Sums are cut by shape, never by the number of threads: each index of a loop writes its own
// outputs, so results have the same bits for any executor. Temporary memory is base/scratch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace mote {

// A callable that someone else keeps alive for the length of the call: what loops take, since a
// std::function may allocate.
template <class Signature>
class FunctionRef;

template <class... Arguments>
class FunctionRef<void(Arguments...)> {
 public:
  // Implicit, so that a lambda can be written where a loop is called.
  template <class Body>
  requires(!std::is_same_v<std::remove_cvref_t<Body>, FunctionRef>)
      FunctionRef(const Body& body)  // NOLINT(google-explicit-constructor)
      : body_(&body), call_([](const void* b, Arguments... arguments) {
          (*static_cast<const Body*>(b))(arguments...);
        }) {}
  void operator()(Arguments... arguments) const { call_(body_, arguments...); }

 private:
  const void* body_;
  void (*call_)(const void*, Arguments...);
};

class Executor {
 public:
  Executor() = default;
  virtual ~Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  // How many workers there are, inside a loop too.
  virtual int threads() const = 0;
  // The calling thread's number inside a loop, 0 outside.
  virtual int worker() const = 0;
  // Calls body(worker) once on each of up to threads() workers, worker in [0, threads()), and waits
  // for all. The first exception is rethrown here. From inside such a call it runs on the calling
  // worker alone, under that worker's number.
  virtual void on_each_worker(FunctionRef<void(int worker)> body) const = 0;
};

// The caller's own thread, worker 0. It lives as long as the program.
const Executor& serial();

// Threads that wait between calls, a short while awake and then asleep, so that a loop starts fast
// on an idle machine and a busy one is not kept from other work. Callers from outside take turns, so
// loops of two pools must not start each other in a circle. `on_start` runs first on every thread of
// the pool.
class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int threads, const std::function<void()>& on_start = {});
  ~ThreadPool() override;
  int threads() const override;
  int worker() const override;
  void on_each_worker(FunctionRef<void(int)> body) const override;

 private:
  struct State;
  void helper(int worker);
  void join();
  std::unique_ptr<State> state_;
  std::vector<std::thread> helpers_;
};

// body(i, worker) for every i in [0, count), in increasing order of start; workers take the next
// index when free. Nothing is allocated. A single index runs on the caller, where a loop inside it
// is not a nested one.
void parallel_for(const Executor& executor, std::int64_t count,
                  FunctionRef<void(std::int64_t i, int worker)> body);

// Physical cores that this process may use: by its affinity, and no more than the quota of its
// control group pays for, rounded up.
int physical_cores();

}  // namespace mote
