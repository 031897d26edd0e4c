// Rounding problems for tests and benchmarks: random weights and the factors of random inputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/packed/rounding/rounding.h"

namespace mote::kernels {

using Doubles = std::vector<double>;

// Lower Cholesky factor of a positive definite [n, n] matrix, plainly.
inline Doubles cholesky(const Doubles& a, Index n) {
  Doubles l(a.size());
  const auto at = [n](Index i, Index j) { return static_cast<std::size_t>(i * n + j); };
  for (Index j = 0; j < n; ++j)
    for (Index i = j; i < n; ++i) {
      double sum = a[at(i, j)];
      for (Index k = 0; k < j; ++k) sum -= l[at(i, k)] * l[at(j, k)];
      l[at(i, j)] = i == j ? std::sqrt(sum) : sum / l[at(j, j)];
    }
  return l;
}

// The upper U with H^-1 = U' U.
inline Doubles factor_of_inverse(const Doubles& h, Index n) {
  const auto at = [n](Index i, Index j) { return static_cast<std::size_t>(i * n + j); };
  const Doubles l = cholesky(h, n);
  Doubles inverse_l(h.size()), inverse(h.size()), u(h.size());
  for (Index j = 0; j < n; ++j)
    for (Index i = j; i < n; ++i) {
      double sum = i == j ? 1 : 0;
      for (Index k = j; k < i; ++k) sum -= l[at(i, k)] * inverse_l[at(k, j)];
      inverse_l[at(i, j)] = sum / l[at(i, i)];
    }
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      for (Index k = std::max(i, j); k < n; ++k)
        inverse[at(i, j)] += inverse_l[at(k, i)] * inverse_l[at(k, j)];
  const Doubles lower = cholesky(inverse, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j <= i; ++j) u[at(j, i)] = lower[at(i, j)];
  return u;
}

// H = scale * X'X + damp, damp = max(share * mean(diag), 1e-6).
inline Doubles damped_moments(const std::vector<float>& x_NC, Index columns, double share,
                              double scale) {
  Doubles h(static_cast<std::size_t>(columns * columns));
  const auto row = static_cast<std::size_t>(columns);
  for (std::size_t n = 0; n < x_NC.size(); n += row)
    for (std::size_t i = 0; i < row; ++i)
      for (std::size_t j = 0; j < row; ++j)
        h[i * row + j] +=
            scale * static_cast<double>(x_NC[n + i]) * static_cast<double>(x_NC[n + j]);
  double trace = 0;
  for (std::size_t i = 0; i < row; ++i) trace += h[i * (row + 1)];
  const double damp = std::max(share * trace / static_cast<double>(columns), 1e-6);
  for (std::size_t i = 0; i < row; ++i) h[i * (row + 1)] += damp;
  return h;
}

inline std::vector<float> to_floats(const Doubles& values) {
  return {values.begin(), values.end()};
}

struct RoundingCase {
  Index experts, rows, columns;
  Grid grid;
};

inline std::string case_name(const RoundingCase& shape) {
  return std::string(shape.grid == Grid::ternary ? "ternary" : "two_bit") + "_experts" +
         std::to_string(shape.experts) + "_rows" + std::to_string(shape.rows) + "_columns" +
         std::to_string(shape.columns);
}

inline std::vector<RoundingCase> rounding_cases() {
  std::vector<RoundingCase> cases;
  for (Grid grid : {Grid::ternary, Grid::two_bit}) {
    for (Index size : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33}) cases.push_back({1, size, size, grid});
    cases.push_back({1, 113, 40, grid});
    cases.push_back({2, 20, 131, grid});
    cases.push_back({3, 1, 260, grid});
    cases.push_back({1, 0, 5, grid});
    cases.push_back({0, 3, 5, grid});
  }
  return cases;
}

// Inputs with neighbours that depend on each other, as activations do.
inline std::vector<float> random_inputs(Index count, Index columns, std::uint64_t seed) {
  const Rng rng(seed, Purpose::test, 3);
  std::vector<float> x(static_cast<std::size_t>(count * columns));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double before =
        i % static_cast<std::size_t>(columns) == 0 ? 0.0 : static_cast<double>(x[i - 1]);
    x[i] = static_cast<float>(0.7 * before + rng.normal(i));
  }
  return x;
}

struct RoundingData {
  RoundingCase shape;
  std::vector<float> w, u;  // [E, R, C], [E, C, C]
  Doubles h;                // [E, C, C]

  RoundingData(const RoundingCase& of, std::uint64_t seed) : shape(of) {
    const Rng rng(seed, Purpose::test, 4);
    w.resize(static_cast<std::size_t>(shape.experts * shape.rows * shape.columns));
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(rng.normal(i));
    for (Index e = 0; e < shape.experts; ++e) {
      const Index samples = 2 * shape.columns + 3;
      const auto x = random_inputs(samples, shape.columns, seed + static_cast<std::uint64_t>(e));
      const Doubles moments = damped_moments(x, shape.columns, 0.1, 1.0);
      const std::vector<float> factor = to_floats(factor_of_inverse(moments, shape.columns));
      h.insert(h.end(), moments.begin(), moments.end());
      u.insert(u.end(), factor.begin(), factor.end());
    }
  }
  View<const float, 3> weights() const {
    return view(w.data(), shape.experts, shape.rows, shape.columns);
  }
  View<const float, 3> factors() const {
    return view(u.data(), shape.experts, shape.columns, shape.columns);
  }
};

}  // namespace mote::kernels
