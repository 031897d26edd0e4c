// Shapes and inputs of the expert layer, with routes.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/linear/experts/experts.h"
#include "kernels/routing/sort/sort.h"

namespace mote::kernels {

// Which experts tokens go to.
enum class Spread {
  even,      // all experts about equally
  odd_ones,  // experts with an even number have no rows
  one,       // the last expert has every row
};

struct ExpertsCase {
  Index tokens, slots, experts, dim, width;
  Spread spread = Spread::even;
};

inline std::string case_name(const ExpertsCase& c) {
  constexpr const char* kNames[] = {"even", "odd_ones", "one"};
  return word("tokens", c.tokens) + word("_slots", c.slots) + word("_experts", c.experts) +
         word("_dim", c.dim) + word("_width", c.width) + "_" + kNames[static_cast<int>(c.spread)];
}

inline std::vector<ExpertsCase> experts_cases() {
  return {
      {1, 1, 1, 1, 1},
      {0, 2, 4, 8, 8},
      {5, 2, 3, 7, 9, Spread::odd_ones},
      {33, 2, 4, 17, 15},
      {64, 4, 16, 33, 31, Spread::odd_ones},
      {40, 3, 5, 16, 8, Spread::one},
      {900, 1, 2, 24, 12, Spread::one},  // more rows than a block
      {6, 2, 2, 520, 510},               // more outputs than a panel of gradients
  };
}

struct ExpertsData {
  ExpertsCase shape;
  std::vector<std::int32_t> experts, ends, order, token, position;
  std::vector<RowBlock> blocks;
  std::vector<float> x, up, down, gate, dy;
  Index stride;  // of the rows of x and dy, which have gaps

  explicit ExpertsData(const ExpertsCase& of)
      : shape(of),
        x(normals(of.tokens * (of.dim + 3) + 1, 1)),
        up(normals(of.experts * of.width * of.dim, 2)),
        down(normals(of.experts * of.width * of.dim, 3)),
        gate(absolute(normals(rows(), 4))),
        dy(normals(of.tokens * (of.dim + 3) + 1, 5)),
        stride(of.dim + 3) {
    const Rng rng(31, Purpose::test);
    for (Index r = 0; r < rows(); ++r) experts.push_back(expert_of(rng, r));
    const auto count = static_cast<std::size_t>(rows());
    ends.resize(static_cast<std::size_t>(of.experts));
    order.resize(count), token.resize(count), position.resize(count);
    sort_routes({view<const std::int32_t>(experts.data(), of.tokens, of.slots), of.experts,
                 ends.data(), order.data(), token.data(), position.data()});
    blocks.resize(static_cast<std::size_t>(max_row_blocks(rows(), of.experts)));
    blocks.resize(
        static_cast<std::size_t>(make_row_blocks(ends.data(), of.experts, blocks.data())));
  }

  Index rows() const { return shape.tokens * shape.slots; }
  View<const float, 2> x_ND() const {
    return {x.data() + 1, {shape.tokens, shape.dim}, {stride, 1}};
  }
  View<const float, 2> dy_ND() const {
    return {dy.data() + 1, {shape.tokens, shape.dim}, {stride, 1}};
  }
  View<const float, 3> up_EGD() const {
    return view(up.data(), shape.experts, shape.width, shape.dim);
  }
  View<const float, 3> down_EDG() const {
    return view(down.data(), shape.experts, shape.dim, shape.width);
  }
  Routes routes() const {
    return {ends.data(), order.data(), token.data(),
            view(position.data(), shape.tokens, shape.slots), blocks};
  }
  // The same with every number replaced by its size, which bounds the terms of each sum.
  ExpertsData sizes() const {
    ExpertsData all = *this;
    for (std::vector<float>* v : {&all.x, &all.up, &all.down, &all.dy}) *v = absolute(*v);
    return all;
  }

 private:
  std::int32_t expert_of(const Rng& rng, Index row) const {
    const auto draw = [&](Index bound) {
      return static_cast<Index>(
          rng.below(static_cast<std::uint64_t>(bound), static_cast<std::uint64_t>(row)));
    };
    Index e = draw(shape.experts);
    if (shape.spread == Spread::odd_ones) e = 2 * draw(shape.experts / 2) + 1;
    if (shape.spread == Spread::one) e = shape.experts - 1;
    return static_cast<std::int32_t>(e);
  }
};

}  // namespace mote::kernels
