// Cutting scratch memory on the boundary of a cache line.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mote::kernels {

constexpr std::size_t kLine = 64;  // bytes

// The first address from p on that is one.
inline std::byte* aligned(std::byte* p) {
  return p + (kLine - reinterpret_cast<std::uintptr_t>(p) % kLine) % kLine;
}

}  // namespace mote::kernels
