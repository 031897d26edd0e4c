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

// How many rows tokens have.
enum class PerToken {
  same,    // `slots` each
  ragged,  // 0, 1, ... 2 * slots in turn; the same expert may come twice
  none,    // none has any
};

struct ExpertsCase {
  Index tokens, slots, experts, dim, width;
  Spread spread = Spread::even;
  PerToken per_token = PerToken::same;
  UnitKind unit = UnitKind::relu;
  bool gated = false;
  Type type = Type::f32;  // of the matrices
  bool apart = false;     // each matrix in memory of its own
};

inline std::string case_name(const ExpertsCase& c) {
  constexpr const char *kNames[] = {"even", "odd_ones", "one"}, *kRows[] = {"", "_ragged", "_none"},
                       *kUnits[] = {"_identity", "", "_silu", "_gelu", "_gelu_tanh"},
                       *kTypes[] = {"", "_bf16", "_f16"};
  return word("tokens", c.tokens) + word("_slots", c.slots) + word("_experts", c.experts) +
         word("_dim", c.dim) + word("_width", c.width) + "_" + kNames[static_cast<int>(c.spread)] +
         kRows[static_cast<int>(c.per_token)] + kUnits[static_cast<int>(c.unit)] +
         (c.gated ? "_gated" : "") + kTypes[static_cast<int>(c.type)] + (c.apart ? "_apart" : "");
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
      {33, 2, 4, 17, 15, Spread::even, PerToken::ragged},
      {50, 3, 5, 16, 33, Spread::odd_ones, PerToken::ragged},
      {400, 2, 3, 9, 8, Spread::one, PerToken::ragged},
      {9, 2, 3, 8, 7, Spread::even, PerToken::none},
  };
}

// Experts that inference alone knows: of three matrices, of other units, stored in other types.
inline std::vector<ExpertsCase> more_experts_cases() {
  constexpr Spread kEven = Spread::even;
  constexpr PerToken kSame = PerToken::same, kRagged = PerToken::ragged;
  return {
      {0, 2, 4, 8, 8, kEven, kSame, UnitKind::silu, true},
      {33, 2, 4, 17, 15, kEven, kRagged, UnitKind::silu, true},
      {64, 4, 16, 33, 31, Spread::odd_ones, kSame, UnitKind::silu, true, Type::bf16},
      {40, 3, 5, 16, 8, Spread::one, kRagged, UnitKind::gelu, true, Type::f16, true},
      {900, 1, 2, 24, 12, Spread::one, kSame, UnitKind::silu, true, Type::bf16, true},
      {5, 2, 3, 700, 800, kEven, kSame, UnitKind::silu, true, Type::bf16},  // pieces of columns
      {5, 2, 3, 700, 800, kEven, kSame, UnitKind::relu, false, Type::bf16, true},
      {50, 3, 5, 16, 33, kEven, kSame, UnitKind::gelu_tanh, false, Type::f32, true},
      {50, 3, 5, 16, 33, kEven, kSame, UnitKind::identity},
  };
}

// A stack as it is stored.
struct StackData {
  std::vector<float> values;
  std::vector<std::uint16_t> halves;
  std::vector<const void*> each;

  Stack stack(const ExpertsCase& c, Index rows, Index columns) {
    halves.clear(), each.clear();
    if (c.type != Type::f32)
      for (const float x : values) halves.push_back(c.type == Type::f16 ? to_f16(x) : to_bf16(x));
    const void* data = halves.data();
    if (c.type == Type::f32) data = values.data();
    Stack all{c.experts, rows, columns, c.type, columns, data, rows * columns};
    if (!c.apart) return all;
    for (Index e = 0; e < c.experts; ++e) each.push_back(all.matrix(e).data);
    all.data = nullptr, all.each = each.data();
    return all;
  }
};

struct ExpertsData {
  ExpertsCase shape;
  std::vector<std::int32_t> first, experts, ends, order, token, position;
  std::vector<RowBlock> blocks;
  std::vector<float> x, up, down, gate, dy;
  mutable StackData gates, ups, downs;  // as forward reads them
  Index stride;                         // of the rows of x and dy, which have gaps

  explicit ExpertsData(const ExpertsCase& of)
      : shape(of),
        first(first_rows(of)),
        x(normals(of.tokens * (of.dim + 3) + 1, 1)),
        up(normals(of.experts * of.width * of.dim, 2)),
        down(normals(of.experts * of.width * of.dim, 3)),
        gate(absolute(normals(rows(), 4))),
        dy(normals(of.tokens * (of.dim + 3) + 1, 5)),
        gates{normals(of.experts * of.width * of.dim, 6), {}, {}},
        stride(of.dim + 3) {
    const Rng rng(31, Purpose::test);
    for (Index r = 0; r < rows(); ++r) experts.push_back(expert_of(rng, r));
    const auto count = static_cast<std::size_t>(rows());
    ends.resize(static_cast<std::size_t>(of.experts));
    order.resize(count), token.resize(count), position.resize(count);
    sort_routes({view<const std::int32_t>(experts.data(), rows()),
                 view<const std::int32_t>(first.data(), of.tokens + 1), of.experts, ends.data(),
                 order.data(), token.data(), position.data()});
    blocks.resize(static_cast<std::size_t>(max_row_blocks(rows(), of.experts)));
    blocks.resize(
        static_cast<std::size_t>(make_row_blocks(ends.data(), of.experts, blocks.data())));
  }

  Index rows() const { return first.back(); }
  // Of one token.
  Index most_rows() const {
    Index most = 0;
    for (std::size_t n = 1; n < first.size(); ++n)
      most = std::max<Index>(most, first[n] - first[n - 1]);
    return most;
  }
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
  Stack gate_stack() const {
    return shape.gated ? gates.stack(shape, shape.width, shape.dim) : Stack{};
  }
  Stack up_stack() const {
    ups.values = up;
    return ups.stack(shape, shape.width, shape.dim);
  }
  Stack down_stack() const {
    downs.values = down;
    return downs.stack(shape, shape.dim, shape.width);
  }
  Routes routes() const {
    return {ends.data(),
            order.data(),
            token.data(),
            view(position.data(), rows()),
            view(first.data(), shape.tokens + 1),
            blocks};
  }
  // The same with every number replaced by its size, which bounds the terms of each sum.
  ExpertsData sizes() const {
    ExpertsData all = *this;
    for (std::vector<float>* v : {&all.x, &all.up, &all.down, &all.dy, &all.gates.values})
      *v = absolute(*v);
    return all;
  }

 private:
  static std::vector<std::int32_t> first_rows(const ExpertsCase& c) {
    std::vector<std::int32_t> all = {0};
    for (Index n = 0; n < c.tokens; ++n) {
      const Index count = c.per_token == PerToken::same     ? c.slots
                          : c.per_token == PerToken::ragged ? n % (2 * c.slots + 1)
                                                            : 0;
      all.push_back(all.back() + static_cast<std::int32_t>(count));
    }
    return all;
  }
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
