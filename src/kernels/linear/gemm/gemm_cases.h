// Shapes and inputs of gemm: sizes round the lane and tile widths, sizes beyond each blocking
// constant, every layout and epilogue.
#pragma once

#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/core/random_cases.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/linear/gemm/gemm_blocking.h"

namespace mote::kernels {

struct GemmCase {
  Index m, n, k;
  Rows a = Rows::outer, b = Rows::outer;
  bool pick = false;   // stored rows by index lists
  bool scale = false;  // the operands with Rows::inner
  bool bias = false, relu = false, accumulate = false, factor = false, row_scale = false;
  Type a_type = Type::f32, b_type = Type::f32;
  bool source = false;  // b fills panels
  bool gated = false;
};

inline const char* name(Type type) {
  return type == Type::f32 ? "f32" : type == Type::bf16 ? "bf16" : "f16";
}

inline std::string case_name(const GemmCase& c) {
  const auto operand = [](Rows rows, Type type) {
    return std::string(rows == Rows::outer ? "_outer" : "_inner") +
           (type == Type::f32 ? "" : name(type));
  };
  return word("m", c.m) + word("_n", c.n) + word("_k", c.k) + operand(c.a, c.a_type) +
         operand(c.b, c.b_type) + (c.source ? "_source" : "") + (c.pick ? "_picked" : "") +
         (c.scale ? "_scaled" : "") + (c.bias ? "_bias" : "") + (c.relu ? "_relu" : "") +
         (c.accumulate ? "_added" : "") + (c.factor ? "_factor" : "") +
         (c.row_scale ? "_rowscale" : "") + (c.gated ? "_gated" : "");
}

// Every combination of two layouts and seven options, by number in [0, 512).
inline GemmCase with_options(Index m, Index n, Index k, int number) {
  const auto bit = [&](int i) { return (number >> i & 1) != 0; };
  const auto rows = [&](int i) { return bit(i) ? Rows::inner : Rows::outer; };
  return {m, n, k, rows(0), rows(1), bit(2), bit(3), bit(4), bit(5), bit(6), bit(7), bit(8)};
}

inline GemmBlocking largest_blocking() {
  Gemm huge;
  huge.m = huge.n = huge.k = 1 << 20;
  return gemm_blocking(huge);
}

inline std::vector<GemmCase> gemm_cases() {
  std::vector<GemmCase> cases;
  int number = 0, count = 0;
  const auto options = [&](Index m, Index n, Index k) {
    // 37 is odd: any 512 cases in a row have all combinations.
    GemmCase c = with_options(m, n, k, number = (number + 37) % 512);
    c.a_type = static_cast<Type>(count % 3), c.b_type = static_cast<Type>(count / 3 % 3);
    ++count;
    return c;
  };
  const auto add = [&](Index m, Index n, Index k) { cases.push_back(options(m, n, k)); };
  for (Index size : {0, 1, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 255, 256, 257}) {
    add(size, 19, 23);
    add(10, size, 35);
    add(11, 21, size);
  }
  for (int i = 0; i < 200; ++i) add(29, 37, 41);
  for (Index m : {1, 2, 3, 6, 15, 16, 17})  // few rows have a path of their own
    for (Index n : {1, 5, 33})
      for (Index k : {1, 16, 300}) {
        GemmCase c = options(m, n, k);
        c.a = c.b = Rows::outer;
        cases.push_back(c);
      }
  // b where it lies: tiles of one to three vectors and rows behind them, of whole and partial groups.
  for (Index m : {7, 8, 11, 16, 19, 23, 24, 40, 43, 47, 48, 50, 65})
    for (Index n : {33, 96, 101})
      for (Index k : {65, 300, 576}) {
        GemmCase c = options(m, n, k);
        c.b = Rows::outer;
        c.accumulate = false;
        cases.push_back(c);
      }
  for (Index m : {1, 5, 40})  // b as panels, of whole and of partial ones
    for (Index n : {16, 64, 71, 200})
      for (Index k : {1, 64, 83}) {
        GemmCase c = options(m, n, k);
        c.pick = c.scale = false;
        c.source = true;
        cases.push_back(c);
      }
  // Every blocking loop turns at least twice.
  const GemmBlocking cut = largest_blocking();
  add(cut.rows + 5, cut.columns + 5, cut.depth + 3);
  add(2 * cut.rows + 5, 40, 2 * cut.depth + 1);
  add(15, 2 * cut.columns + 3, 2 * cut.depth + 1);
  Gemm deep;
  deep.m = deep.n = deep.k = 1200;
  cases.push_back({gemm_transposed_blocking(deep).rows + 5, 101, deep.k});
  cases.push_back(options(20, cut.columns + 70, 2 * cut.depth + 1));
  cases.back().pick = cases.back().scale = false;
  cases.back().source = true;
  return cases;
}

// Gated products: few rows and more, sizes round vectors and tiles, every blocking loop twice.
inline std::vector<GemmCase> gated_cases() {
  std::vector<GemmCase> cases;
  int count = 0;
  const auto add = [&](Index m, Index n, Index k) {
    GemmCase c{m, n, k};
    c.pick = count % 2 == 1;
    c.a_type = static_cast<Type>(count % 3), c.b_type = static_cast<Type>(count / 3 % 3);
    c.gated = true;
    ++count;
    cases.push_back(c);
  };
  for (const Index m : {0, 1, 6, 7, 11, 12, 13, 16, 19, 24, 33, 50})
    for (const Index n : {0, 1, 15, 16, 17, 40})
      for (const Index k : {0, 1, 33, 300}) add(m, n, k);
  const GemmBlocking cut = largest_blocking();
  add(cut.rows + 5, cut.columns / 2 + 5, cut.depth + 3);
  add(2 * cut.rows + 5, 20, 2 * cut.depth + 1);
  add(15, cut.columns + 3, cut.depth);
  Gemm deep;
  deep.m = deep.n = deep.k = 1200;
  add(gemm_transposed_blocking(deep).rows + 5, 101, deep.k);
  return cases;
}

// A PanelSource over plain memory, which holds its caller to what it promises.
struct PlainSource {
  const float* w;
  Index rows, columns, stride;
  static void fill(const void* storage, const PanelPart& part) {
    const auto& s = *static_cast<const PlainSource*>(storage);
    MOTE_CHECK(part.first_row % kPanelRows == 0 && part.first_k % 64 == 0 &&
                   part.stride >= kPanelRows && part.first_k + part.depth <= s.columns,
               "fill: row ", part.first_row, ", k ", part.first_k, " of ", s.columns);
    for (Index k = 0; k < part.depth; ++k)
      for (Index j = 0; j < kPanelRows; ++j)
        part.out[k * part.stride + j] =
            part.first_row + j < s.rows ? s.w[(part.first_row + j) * s.stride + part.first_k + k]
                                        : 0;
  }
};

// One operand's memory: rows with gaps between them, off any alignment.
struct GemmOperandData {
  std::vector<float> data, scale;
  std::vector<std::uint16_t> halves;  // the same in a type of 16 bits
  std::vector<std::int32_t> pick;
  Index stride = 0;
  Rows rows = Rows::outer;
  Type type;
  PlainSource source{};
  bool has_source = false;

  GemmOperandData(Index outer, Index inner, Rows layout, Type of, const GemmCase& c, bool is_b,
                  std::uint32_t part)
      : rows(layout), type(of), has_source(c.source && is_b) {
    const Index stored = layout == Rows::outer ? outer : inner;
    const Index columns = layout == Rows::outer ? inner : outer, all = c.pick ? 2 * stored : stored;
    stride = columns + 3;
    data = normals(all * stride + 1, part);
    store();
    source = {nullptr, stored, columns, stride};
    if (c.scale && layout == Rows::inner) scale = normals(stored, part + 1);
    if (!c.pick) return;
    const Rng rng(29, Purpose::test, 1, part);
    for (Index r = 0; r < stored; ++r)
      pick.push_back(static_cast<std::int32_t>(
          rng.below(static_cast<std::uint64_t>(all), static_cast<std::uint64_t>(r))));
  }
  void store() {
    halves.clear();
    for (const float each : data)
      halves.push_back(type == Type::f16 ? to_f16(each) : to_bf16(each));
  }
  Operand operand() {
    if (has_source) {
      source.w = data.data() + 1;
      return {.rows = rows, .source = {PlainSource::fill, &source}};
    }
    const void* start = halves.data() + 1;
    if (type == Type::f32) start = data.data() + 1;
    return {start,
            stride,
            rows,
            pick.empty() ? nullptr : pick.data(),
            scale.empty() ? nullptr : scale.data(),
            type};
  }
};

struct GemmData {
  GemmCase shape;
  mutable GemmOperandData a, b, gate;
  std::vector<float> bias, c, factor, row_scale;
  Index c_stride;

  explicit GemmData(const GemmCase& of)
      : shape(of),
        a(of.m, of.k, of.a, of.a_type, of, false, 1),
        b(of.n, of.k, of.b, of.b_type, of, true, 3),
        gate(of.gated ? of.n : 0, of.gated ? of.k : 0, of.b, of.b_type, of, true, 9),
        bias(normals(of.n, 5)),
        c(normals(of.m * (of.n + 5), 6)),
        factor(normals(of.m * (of.n + 2), 7)),
        row_scale(normals(of.m, 8)),
        c_stride(of.n + 5) {}

  // Arguments that write to `out`, which has m rows of c_stride.
  Gemm args(float* out, Precision precision) const {
    Gemm g;
    g.m = shape.m, g.n = shape.n, g.k = shape.k;
    g.a = a.operand(), g.b = b.operand();
    if (shape.gated) g.gate = gate.operand();
    g.c = out, g.c_stride = c_stride;
    g.finish.accumulate = shape.accumulate;
    g.finish.bias = shape.bias ? bias.data() : nullptr;
    g.finish.activation = shape.relu ? Activation::relu : Activation::none;
    if (shape.factor) g.finish.factor = factor.data(), g.finish.factor_stride = shape.n + 2;
    g.finish.row_scale = shape.row_scale ? row_scale.data() : nullptr;
    g.precision = precision;
    return g;
  }
  // The same with every number replaced by its size: its product bounds the terms of each sum.
  GemmData sizes() const {
    GemmData all = *this;
    for (std::vector<float>* x : {&all.a.data, &all.a.scale, &all.b.data, &all.b.scale,
                                  &all.gate.data, &all.bias, &all.c, &all.factor, &all.row_scale})
      *x = absolute(*x);
    all.a.store(), all.b.store(), all.gate.store();
    return all;
  }
};

// A sum of k products in float32, in any order, is off by at most k roundings of the sum of the
// terms' sizes; scale, bias, what c held, factor, row scale and the result itself add six.
inline double gemm_tolerance(Index k) {
  return static_cast<double>(k + 6) * kRounding;
}

}  // namespace mote::kernels
