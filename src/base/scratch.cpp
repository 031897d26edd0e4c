#include "base/scratch.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace mote {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kLeastChunk = std::size_t{1} << 20;

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

struct Chunk {
  std::unique_ptr<std::byte, Free> memory;
  std::size_t bytes = 0;
};

Chunk allocate(std::size_t bytes) {
  Chunk chunk{
      std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(std::aligned_alloc(kLine, bytes))),
      bytes};
  if (!chunk.memory) throw std::bad_alloc();
  return chunk;
}

// Chunks never move while something is taken from them; what does not fit goes to a further one.
struct Stack {
  std::vector<Chunk> chunks;
  std::size_t chunk = 0, used = 0;  // the end: chunks before `chunk` are full
  std::size_t held = 0, peak = 0;   // bytes taken now, and the most since take_peak()
};

Stack& stack() {
  thread_local Stack mine;
  return mine;
}

// With nothing taken, several chunks become one of their size together.
void join(Stack& s) {
  if (s.chunks.size() < 2) return;
  std::size_t all = 0;
  for (const Chunk& each : s.chunks) all += each.bytes;
  s.chunks.clear();
  s.chunks.push_back(allocate(all));
}

}  // namespace

Scratch::Scratch() : chunk_(stack().chunk), used_(stack().used), held_(stack().held) {
  if (chunk_ == 0 && used_ == 0) join(stack());
}

Scratch::~Scratch() {
  stack().chunk = chunk_;
  stack().used = used_;
  stack().held = held_;
}

std::size_t Scratch::take_peak() {
  Stack& s = stack();
  const std::size_t peak = s.peak;
  s.peak = s.held;
  return peak;
}

std::byte* Scratch::take_bytes(std::int64_t count, std::size_t size) {
  assert(count >= 0);
  Stack& s = stack();
  const std::size_t bytes = (static_cast<std::size_t>(count) * size + kLine - 1) / kLine * kLine;
  while (s.chunk < s.chunks.size() && s.chunks[s.chunk].bytes - s.used < bytes) {
    ++s.chunk;
    s.used = 0;
  }
  if (s.chunk == s.chunks.size()) s.chunks.push_back(allocate(std::max(bytes, kLeastChunk)));
  std::byte* here = s.chunks[s.chunk].memory.get() + s.used;
  s.used += bytes;
  s.held += bytes;
  s.peak = std::max(s.peak, s.held);
  return here;
}

}  // namespace mote
