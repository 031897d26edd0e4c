// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011), keyed by (seed, purpose,
// step).
//
// A draw depends on its key and its index and on nothing else: not on how many draws came before,
// not on threads. Resumed and data-parallel runs therefore agree.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mote {

// What the numbers are for; part of the key, so that two uses of one seed never share a stream.
// Values are stored in nothing, but changing one changes every result: append only.
enum class Purpose : std::uint32_t {
  initialization = 1,
  dropout = 2,
  expert_dropout = 3,
  sampling = 4,
  calibration = 5,
  test = 6,
  router_noise = 7,
  hash_router = 8,
  rounding = 9,
  corruption = 10,
  span_corruption = 11,
  pair_order = 12,
};

// The hash of a name (FNV-1a), as part of a key.
std::uint64_t name_key(std::string_view name);

using Block = std::array<std::uint32_t, 4>;

// Ten rounds of Philox4x32.
Block philox(Block counter, std::array<std::uint32_t, 2> key);

class Rng {
 public:
  Rng(std::uint64_t seed, Purpose purpose, std::uint64_t step = 0, std::uint32_t part = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        step_(step),
        purpose_(static_cast<std::uint32_t>(purpose) | part << 8) {}

  // The block of four 32-bit numbers at `index` (up to 2^32 blocks).
  Block block(std::uint32_t index) const {
    return philox({index, static_cast<std::uint32_t>(step_),
                   static_cast<std::uint32_t>(step_ >> 32), purpose_},
                  key_);
  }
  // The number at `index` in [0, 1), a multiple of 2^-24.
  float uniform(std::uint64_t index) const {
    const Block b = block(static_cast<std::uint32_t>(index >> 2));
    return static_cast<float>(b[index & 3] >> 8) * 0x1p-24f;
  }
  // The standard normal number at `index` (Box-Muller, two of a block's four words each).
  double normal(std::uint64_t index) const;
  // A whole number in [0, bound) at `index`; the bias is below bound / 2^64.
  std::uint64_t below(std::uint64_t bound, std::uint64_t index) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint64_t step_;
  std::uint32_t purpose_;  // and, above its 8 bits, the part: a layer's number
};

}  // namespace mote
