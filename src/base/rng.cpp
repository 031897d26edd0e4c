#include "base/rng.h"

#include <cmath>
#include <numbers>

namespace mote {

std::uint64_t name_key(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

Block philox(Block counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t even = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t odd = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(odd >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(odd),
               static_cast<std::uint32_t>(even >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(even)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

double Rng::normal(std::uint64_t index) const {
  const Block b = block(static_cast<std::uint32_t>(index >> 1));
  const std::size_t half = (index & 1) * 2;
  const double radius = std::sqrt(-2 * std::log((b[half] + 0.5) * 0x1p-32));
  return radius * std::cos(2 * std::numbers::pi * (b[half + 1] * 0x1p-32));
}

std::uint64_t Rng::below(std::uint64_t bound, std::uint64_t index) const {
  const Block b = block(static_cast<std::uint32_t>(index >> 1));
  const std::size_t half = (index & 1) * 2;
  const std::uint64_t word = std::uint64_t{b[half]} << 32 | b[half + 1];
  // The high half of word * bound, from 32-bit halves.
  const std::uint64_t low = (word & 0xffffffff) * (bound & 0xffffffff);
  const std::uint64_t cross_a = (word >> 32) * (bound & 0xffffffff) + (low >> 32);
  const std::uint64_t cross_b = (word & 0xffffffff) * (bound >> 32) + (cross_a & 0xffffffff);
  return (word >> 32) * (bound >> 32) + (cross_a >> 32) + (cross_b >> 32);
}

}  // namespace mote
