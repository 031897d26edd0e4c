// Shapes and inputs of gemm: sizes round the lane and tile widths, sizes beyond each blocking
// constant, every layout and epilogue.
#pragma once

#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/linear/gemm/gemm_blocking.h"

namespace mote::kernels {

struct GemmCase {
  Index m, n, k;
  Rows a = Rows::outer, b = Rows::outer;
  bool pick = false;   // stored rows by index lists
  bool scale = false;  // the operands with Rows::inner
  bool bias = false, relu = false, accumulate = false;
};

inline std::string case_name(const GemmCase& c) {
  const auto letter = [](Rows rows) { return rows == Rows::outer ? "outer" : "inner"; };
  return word("m", c.m) + word("_n", c.n) + word("_k", c.k) + "_" + letter(c.a) + "_" +
         letter(c.b) + (c.pick ? "_picked" : "") + (c.scale ? "_scaled" : "") +
         (c.bias ? "_bias" : "") + (c.relu ? "_relu" : "") + (c.accumulate ? "_added" : "");
}

// Every combination of two layouts and five options, by number in [0, 128).
inline GemmCase with_options(Index m, Index n, Index k, int number) {
  const auto bit = [&](int i) { return (number >> i & 1) != 0; };
  return {m,
          n,
          k,
          bit(0) ? Rows::inner : Rows::outer,
          bit(1) ? Rows::inner : Rows::outer,
          bit(2),
          bit(3),
          bit(4),
          bit(5),
          bit(6)};
}

inline std::vector<GemmCase> gemm_cases() {
  std::vector<GemmCase> cases;
  int number = 0;
  const auto add = [&](Index m, Index n, Index k) {
    // 37 is odd: any 128 cases in a row have all combinations.
    cases.push_back(with_options(m, n, k, number = (number + 37) % 128));
  };
  for (Index size : {0, 1, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 255, 256, 257}) {
    add(size, 19, 23);
    add(10, size, 35);
    add(11, 21, size);
  }
  for (int i = 0; i < 80; ++i) add(29, 37, 41);
  for (Index m : {1, 2, 3, 6})  // few rows have a path of their own
    for (Index n : {1, 5, 33})
      for (Index k : {1, 16, 300}) {
        GemmCase c = with_options(m, n, k, number = (number + 37) % 128);
        c.a = c.b = Rows::outer;
        cases.push_back(c);
      }
  // Every blocking loop turns at least twice.
  add(kMaxRows + 5, kMaxColumns + 5, kDepth + 3);
  add(2 * kMaxRows + 5, 40, 2 * kDepth + 1);
  add(15, 2 * kMaxColumns + 3, 2 * kDepth + 1);
  return cases;
}

// One operand's memory: rows with gaps between them, off any alignment.
struct GemmOperandData {
  std::vector<float> data, scale;
  std::vector<std::int32_t> pick;
  Index stride = 0;
  Rows rows = Rows::outer;

  GemmOperandData(Index outer, Index inner, Rows layout, bool picked, bool scaled,
                  std::uint32_t part)
      : rows(layout) {
    const Index stored = layout == Rows::outer ? outer : inner;
    const Index columns = layout == Rows::outer ? inner : outer, all = picked ? 2 * stored : stored;
    stride = columns + 3;
    data = normals(all * stride + 1, part);
    if (scaled && layout == Rows::inner) scale = normals(stored, part + 1);
    if (!picked) return;
    const Rng rng(29, Purpose::test, 1, part);
    for (Index r = 0; r < stored; ++r)
      pick.push_back(static_cast<std::int32_t>(
          rng.below(static_cast<std::uint64_t>(all), static_cast<std::uint64_t>(r))));
  }
  Operand operand() const {
    return {data.data() + 1, stride, rows, pick.empty() ? nullptr : pick.data(),
            scale.empty() ? nullptr : scale.data()};
  }
};

struct GemmData {
  GemmCase shape;
  GemmOperandData a, b;
  std::vector<float> bias, c;
  Index c_stride;

  explicit GemmData(const GemmCase& of)
      : shape(of),
        a(of.m, of.k, of.a, of.pick, of.scale, 1),
        b(of.n, of.k, of.b, of.pick, of.scale, 3),
        bias(normals(of.n, 5)),
        c(normals(of.m * (of.n + 5), 6)),
        c_stride(of.n + 5) {}

  // Arguments that write to `out`, which has m rows of c_stride.
  Gemm args(float* out, Precision precision) const {
    Gemm g;
    g.m = shape.m, g.n = shape.n, g.k = shape.k;
    g.a = a.operand(), g.b = b.operand();
    g.c = out, g.c_stride = c_stride;
    g.accumulate = shape.accumulate;
    g.bias = shape.bias ? bias.data() : nullptr;
    g.relu = shape.relu;
    g.precision = precision;
    return g;
  }
  // The same with every number replaced by its size: its product bounds the terms of each sum.
  GemmData sizes() const {
    GemmData all = *this;
    for (std::vector<float>* x :
         {&all.a.data, &all.a.scale, &all.b.data, &all.b.scale, &all.bias, &all.c})
      *x = absolute(*x);
    return all;
  }
};

// A sum of k products in float32, in any order, is off by at most k roundings of the sum of the
// terms' sizes; scale, bias, what c held and the result itself add four.
inline double gemm_tolerance(Index k) {
  return static_cast<double>(k + 4) * kRounding;
}

}  // namespace mote::kernels
