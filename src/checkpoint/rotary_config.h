// Rotary positions as configs describe them (arXiv 2104.09864): columns in pairs turned by
// position * frequency. Torch-free; kernels/sequence/rotary does the turning.
//
// Of R rotated columns, m < R / 2:
//   f_m = base^(-2m / R), and then by the scaling:
//   none    f_m
//   linear  f_m / factor
//   llama3  by wavelengths w = 2 pi / f: f / factor where w > context / low, f where w < context /
//           high, between them (1 - s) f / factor + s f, s = (context / w - low) / (high - low)
//           (transformers' rope type of that name)
//   yarn    e f + (1 - e) f / factor, e = 1 - clamp((m - a) / (b - a), 0, 1), where a and b are the
//           pairs that turn fast and slow times in the original context,
//           R ln(context / (2 pi turns)) / (2 ln base), rounded outwards if `truncate`;
//           cosines and sines times `attention_factor` (arXiv 2309.00071)
//   long    f_m / short_m, cosines and sines times `short_scale`, in sequences of up to `context`
//           positions; f_m / long_m and `long_scale` in longer ones (arXiv 2402.13753)
#pragma once

#include <cstdint>
#include <vector>

#include "base/fields.h"

namespace mote::checkpoint {

struct NoScaling {
  static constexpr const char* kKind = "none";
  static auto fields() { return std::tuple{}; }
};

struct LinearScaling {
  static constexpr const char* kKind = "linear";
  double factor = 1;
  static auto fields() {
    return std::tuple{
        Field{&LinearScaling::factor, "factor", "positions are divided by it", 1e-3, 1e6}};
  }
};

struct Llama3Scaling {
  static constexpr const char* kKind = "llama3";
  double factor = 8, low = 1, high = 4;
  std::int64_t context = 8192;
  static auto fields() {
    using C = Llama3Scaling;
    return std::tuple{
        Field{&C::factor, "factor", "low frequencies are divided by it", 1e-3, 1e6},
        Field{&C::low, "low", "turns in the original context up to which they are", 1e-3, 1e6},
        Field{&C::high, "high", "turns from which frequencies stay", 1e-3, 1e6},
        Field{&C::context, "context", "tokens of the original context", 1.0, 1e8}};
  }
};

struct YarnScaling {
  static constexpr const char* kKind = "yarn";
  double factor = 1, fast = 32, slow = 1, attention_factor = 1;
  std::int64_t context = 4096;
  bool truncate = true;
  static auto fields() {
    using C = YarnScaling;
    return std::tuple{
        Field{&C::factor, "factor", "frequencies of few turns are divided by it", 1e-3, 1e6},
        Field{&C::fast, "fast", "turns from which frequencies stay", 1e-3, 1e6},
        Field{&C::slow, "slow", "turns up to which they are divided", 1e-3, 1e6},
        Field{&C::attention_factor, "attention_factor", "of cosines and sines", 1e-3, 1e3},
        Field{&C::context, "context", "tokens of the original context", 1.0, 1e8},
        Field{&C::truncate, "truncate", "the two pairs are rounded outwards"}};
  }
};

struct LongScaling {
  static constexpr const char* kKind = "long";
  std::vector<double> short_factors, long_factors;
  double short_scale = 1, long_scale = 1;
  std::int64_t context = 4096;
  static auto fields() {
    using C = LongScaling;
    return std::tuple{
        Field{&C::short_factors, "short", "frequencies are divided by these, one a pair"},
        Field{&C::long_factors, "long", "the same in sequences of more than `context` positions"},
        Field{&C::short_scale, "short_scale", "of cosines and sines", 1e-3, 1e3},
        Field{&C::long_scale, "long_scale", "of cosines and sines", 1e-3, 1e3},
        Field{&C::context, "context", "tokens of the original context", 1.0, 1e8}};
  }
};

// Which columns are a pair: m and m + R / 2, or 2m and 2m + 1.
enum class RotaryPairs { halves, adjacent };

struct RotaryConfig {
  double base = 10000;
  std::int64_t dim = 0;
  RotaryPairs pairs = RotaryPairs::halves;
  OneOf<NoScaling, LinearScaling, Llama3Scaling, YarnScaling, LongScaling> scaling;
  static auto fields() {
    using C = RotaryConfig;
    return std::tuple{
        Field{&C::base, "base", "of the frequencies", 1.0, 1e12},
        Field{&C::dim, "dim", "columns of a head that are turned; 0: all", 0.0, 1e5},
        Field{&C::pairs, "pairs", "halves: m and m + dim / 2; adjacent: 2m and 2m + 1"},
        Field{&C::scaling, "scaling", "how frequencies change for longer contexts"}};
  }
};

struct RotaryFrequencies {
  std::vector<double> of_pair;  // radians a position
  double factor = 1;            // of cosines and sines
};
// `positions`: of the sequence, which decides for the scaling `long`.
RotaryFrequencies rotary_frequencies(const RotaryConfig& config, std::int64_t head_dim,
                                     std::int64_t positions = 0);
// From how many positions on a sequence has other frequencies; the largest number: never.
std::int64_t most_positions_alike(const RotaryConfig& config);

// Throws a config error where a head of that width has no such columns.
void check(const RotaryConfig& config, std::int64_t head_dim, const Place& place);

}  // namespace mote::checkpoint

template <>
struct mote::EnumNames<mote::checkpoint::RotaryPairs> {
  static constexpr std::array names{"halves", "adjacent"};
};
