// Random inputs and comparisons that the operations' cases share; for tests and benchmarks.
#pragma once

#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

// Half a unit in the last place of 1: the relative error of one rounding to float32.
inline constexpr double kRounding = 0x1p-24;

inline std::vector<float> normals(Index count, std::uint32_t part, double scale = 1) {
  const Rng rng(23, Purpose::test, 0, part);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(scale * rng.normal(i));
  return x;
}

inline std::vector<float> absolute(std::vector<float> x) {
  for (float& each : x) each = std::abs(each);
  return x;
}

// The largest |got - want| / (relative * scale + absolute), element by element; infinite where one
// is NaN and the other is not. At most 1 means within the tolerance.
inline double worst_error(const std::vector<float>& got, const std::vector<float>& want,
                          const std::vector<float>& scale, double relative, double floor = 1e-30) {
  double worst = got.size() == want.size() && got.size() == scale.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < got.size() && std::isfinite(worst); ++i) {
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i])) /
                         (relative * static_cast<double>(scale[i]) + floor);
    worst = error <= worst ? worst : std::isnan(error) ? INFINITY : error;
  }
  return worst;
}

// Parameters of tests print as words.
template <class Args>
void PrintTo(const Variant<Args>& variant, std::ostream* out) {
  *out << name(variant.isa);
}
template <class Case>
requires requires(const Case& c) {
  case_name(c);
}
void PrintTo(const Case& c, std::ostream* out) {
  *out << case_name(c);
}

inline std::string word(const char* name, Index value) {
  return name + std::to_string(value);
}

}  // namespace mote::kernels
