// Memory for the length of a scope, from a stack that each thread keeps.
//
//   Scratch scratch;
//   float* sums = scratch.take<float>(count);  // 64-byte aligned, not initialised
//
// All that was taken is given back where the scope ends. Scopes nest, so a function that holds some
// may call others that take theirs, whichever executor or worker runs them. The stack grows when
// it must and keeps its size, so that a call that was made before allocates nothing. Memory that
// several workers share is taken by the thread that starts their loop.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mote {

class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  [[gnu::always_inline]] T* take(std::int64_t count) {
    return reinterpret_cast<T*>(take_bytes(count, sizeof(T)));
  }

  // The most bytes that the calling thread's scopes held together since it last asked; for tests of
  // what memory a kernel needs.
  static std::size_t take_peak();

 private:
  std::byte* take_bytes(std::int64_t count, std::size_t size);
  std::size_t chunk_, used_, held_;  // where the stack ended when this scope began
};

}  // namespace mote
