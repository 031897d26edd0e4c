// Shapes, matrices and inputs for the packed products: sizes round the lane widths, rows that fill
// no block, odd and very wide rows, experts without rows.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/packed/coder.h"

namespace mote::kernels {

struct ProductCase {
  Index experts, rows, columns;
  double zeros;                      // share of weights that are 0, where the format can say so
  std::vector<std::int32_t> tokens;  // per expert
};

inline std::string case_name(const ProductCase& shape) {
  const std::int32_t total = std::accumulate(shape.tokens.begin(), shape.tokens.end(), 0);
  return "experts" + std::to_string(shape.experts) + "_rows" + std::to_string(shape.rows) +
         "_columns" + std::to_string(shape.columns) + "_zeros" +
         std::to_string(static_cast<int>(1000 * shape.zeros)) + "_tokens" + std::to_string(total);
}

inline std::vector<ProductCase> product_cases() {
  std::vector<ProductCase> cases;
  for (Index size : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33})
    cases.push_back({1, size, size, 0.5, {static_cast<std::int32_t>(size)}});
  for (double zeros : {0.0, 0.885, 1.0}) cases.push_back({1, 65, 101, zeros, {1}});
  cases.push_back({1, 130, 767, 0.885, {5}});
  cases.push_back({1, 33, 9001, 0.6, {18}});
  cases.push_back({1, 50, 1100, 0.885, {75}});
  cases.push_back({5, 19, 50, 0.7, {0, 3, 0, 35, 1}});
  cases.push_back({3, 19, 50, 0.7, {0, 0, 0}});
  cases.push_back({2, 0, 50, 0.7, {2, 1}});
  cases.push_back({2, 19, 0, 0.7, {2, 1}});
  return cases;
}

// The same for rows of blocks, whose columns are rounded up to whole ones.
inline std::vector<ProductCase> block_cases() {
  std::vector<ProductCase> cases;
  for (const auto& [rows, columns, tokens] : {std::array<int, 3>{1, 1, 1},
                                              {15, 33, 2},
                                              {16, 256, 1},
                                              {17, 300, 9},
                                              {33, 520, 18},
                                              {50, 1100, 75},
                                              {130, 767, 5}})
    cases.push_back({1, rows, columns, 0, {tokens}});
  cases.push_back({5, 19, 50, 0, {0, 3, 0, 35, 1}});
  cases.push_back({3, 19, 50, 0, {0, 0, 0}});
  cases.push_back({2, 0, 50, 0, {2, 1}});
  cases.push_back({2, 19, 0, 0, {2, 1}});
  return cases;
}
inline ProductCase fitted(const Coder& coder, ProductCase shape) {
  const Index step = coder.blocks ? coder.blocks()->elements : 1;
  shape.columns = (shape.columns + step - 1) / step * step;
  return shape;
}

// A case's inputs; they serve both directions: rows are as wide as the direction asks.
struct SortedInputs {
  ProductCase shape;
  std::vector<std::int32_t> ends;
  std::vector<float> x;

  SortedInputs(const ProductCase& of, std::uint64_t seed) : shape(of), ends(of.tokens.size()) {
    std::partial_sum(shape.tokens.begin(), shape.tokens.end(), ends.begin());
    const Rng rng(seed, Purpose::test, 2);
    x.resize(static_cast<std::size_t>(rows() * widest()));
    // One in 61 is an outlier, as activations have them.
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(rng.normal(i)) * (i % 61 == 7 ? 30.0f : 1.0f);
  }
  Index rows() const { return ends.back(); }
  Index widest() const { return std::max(shape.rows, shape.columns); }
  View<const std::int32_t, 1> ends_view() const { return view(ends.data(), shape.experts); }
  View<const float, 2> inputs(Index columns) const {
    return {x.data(), {rows(), columns}, {widest(), 1}};
  }
};

// Symbols of a grid: of a ternary one `zeros` are 0, else 1 or 2 alike; those of others are
// uniform.
inline std::vector<std::uint8_t> random_symbols(Grid grid, Index count, double zeros,
                                                std::uint64_t seed) {
  const Rng rng(seed, Purpose::test);
  std::vector<std::uint8_t> symbols(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const double u = static_cast<double>(rng.uniform(i));
    symbols[i] = grid == Grid::two_bit ? static_cast<std::uint8_t>(4 * u)
                 : u < zeros           ? std::uint8_t{0}
                                       : static_cast<std::uint8_t>(u < (1 + zeros) / 2 ? 1 : 2);
  }
  return symbols;
}

// Levels that bfloat16 holds: a minimum in [-1, 0) and a maximum in (0, 1], or a scale in [0.1, 1]
// and a zero 0 to 3.
inline std::vector<float> random_levels(Grid grid, Index rows, std::uint64_t seed) {
  const Rng rng(seed, Purpose::test, 1);
  std::vector<float> levels(static_cast<std::size_t>(2 * rows));
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const float size = from_bf16(to_bf16(0.1f + 0.9f * rng.uniform(i)));
    levels[i] = i % 2 == 0 ? (grid == Grid::ternary ? -size : size)
                           : (grid == Grid::ternary ? size : static_cast<float>(i / 2 % 4));
  }
  return levels;
}

// Random bytes as blocks of numbers of which the largest is from 0.01 to 10.
inline void fill_blocks(const BlockType& type, Index count, std::byte* blocks, std::uint64_t seed) {
  const Rng rng(seed, Purpose::test, 3);
  std::vector<float> values(static_cast<std::size_t>(type.elements));
  std::uint64_t draw = 0;
  for (Index b = 0; b < count; ++b, blocks += type.bytes) {
    float largest = 0;
    while (!(largest >= 0.01f && largest <= 10)) {
      for (Index i = 0; i < type.bytes; ++i)
        blocks[i] = static_cast<std::byte>(256 * rng.uniform(draw++));
      type.decode(blocks, 1, values.data());
      largest = 0;
      for (const float v : values) largest = v <= largest && -v <= largest ? largest : std::abs(v);
    }
  }
}

// Random matrices of a coder, also as what they were made from.
struct PackedRandom {
  StackShape shape;
  std::vector<std::uint8_t> symbols_ERC;
  std::vector<float> levels_ER2;
  PackedStack stack;

  PackedRandom(const Coder& coder, const StackShape& of, double zeros, std::uint64_t seed)
      : shape(of),
        symbols_ERC(random_symbols(coder.grid, of.experts * of.rows * of.columns, zeros, seed)),
        levels_ER2(random_levels(coder.grid, of.experts * of.rows, seed)),
        stack(encoded(coder)) {
    if (!coder.blocks) return;
    const BlockType& type = *coder.blocks();
    fill_blocks(type, of.experts * of.rows * of.columns / type.elements, stack.part<std::byte>(0),
                seed);
  }

  // Of a coder of blocks, zeros.
  PackedStack encoded(const Coder& coder, const Executor& executor = serial()) const {
    if (coder.blocks) return {coder, shape};
    return coder.encode(view(symbols_ERC.data(), shape.experts, shape.rows, shape.columns),
                        view(levels_ER2.data(), shape.experts, shape.rows, Index{2}), executor);
  }
  // float32 [E, rows, columns], without the coder's help.
  std::vector<float> dense() const {
    std::vector<float> weights;
    if (const PackedMatrices w = stack.view(); w.coder->blocks) {
      weights.resize(symbols_ERC.size());
      decode_blocks(*w.coder->blocks(),
                    {w.part<std::byte>(0), static_cast<std::size_t>(w.parts[0].count)}, weights);
      return weights;
    }
    for (std::size_t i = 0; i < symbols_ERC.size(); ++i)
      weights.push_back(grid_value(
          stack.view().coder->grid,
          levels_ER2.data() + 2 * (i / static_cast<std::size_t>(shape.columns)), symbols_ERC[i]));
    return weights;
  }
};

// The largest |error| of y [R, out] in units of tolerance * sum |w x|, from the weights [E, rows,
// columns] in double; `to_input` multiplies with their transposes.
inline double worst_error(const SortedInputs& in, const std::vector<float>& weights,
                          const std::vector<float>& y, bool to_input, double tolerance) {
  const Index rows = in.shape.rows, columns = in.shape.columns;
  const Index terms = to_input ? rows : columns, out = to_input ? columns : rows;
  double worst = 0;
  Index r = 0;
  for (Index e = 0; e < in.shape.experts; ++e)
    for (; r < in.ends[static_cast<std::size_t>(e)]; ++r)
      for (Index o = 0; o < out; ++o) {
        double sum = 0, scale = 1e-30;
        for (Index i = 0; i < terms; ++i) {
          const Index at = e * rows * columns + (to_input ? i * columns + o : o * columns + i);
          const double term = static_cast<double>(weights[static_cast<std::size_t>(at)]) *
                              static_cast<double>(in.inputs(terms)(r, i));
          sum += term;
          scale += std::abs(term);
        }
        const double got = static_cast<double>(y[static_cast<std::size_t>(r * out + o)]);
        const double error = std::abs(got - sum) / (tolerance * scale);
        worst = error <= worst ? worst : std::isnan(error) ? INFINITY : error;
      }
  return worst;
}

}  // namespace mote::kernels
