#include "kernels/sequence/rotary/rotary.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

struct RotaryCase {
  Index batch, positions, heads, width, pairs;
  RotaryPairs kind = RotaryPairs::halves;
  bool back = false;
};

std::string case_name(const RotaryCase& c) {
  return word("b", c.batch) + word("_t", c.positions) + word("_h", c.heads) + word("_c", c.width) +
         word("_pairs", c.pairs) + (c.kind == RotaryPairs::adjacent ? "_adjacent" : "") +
         (c.back ? "_back" : "");
}

std::vector<RotaryCase> cases() {
  std::vector<RotaryCase> all = {{0, 3, 2, 8, 4}, {2, 37, 3, 64, 32}, {1, 1, 9, 64, 32}};
  for (const RotaryPairs kind : {RotaryPairs::halves, RotaryPairs::adjacent})
    for (const Index pairs : {0, 1, 3, 7, 8, 9, 15, 16, 17, 33}) {
      all.push_back({2, 5, 3, 2 * pairs + 1, pairs, kind});
      all.push_back({1, 2, 1, 2 * pairs, pairs, kind, true});
    }
  return all;
}

constexpr Index kPositions = 40;

struct Inputs {
  RotaryCase shape;
  std::vector<float> x, cos, sin;
  std::vector<std::int32_t> position;
  explicit Inputs(const RotaryCase& c)
      : shape(c), x(normals(c.batch * c.positions * c.heads * c.width, 1)) {
    for (Index p = 0; p < kPositions; ++p)
      for (Index m = 0; m < c.pairs; ++m) {
        const double angle =
            static_cast<double>(p) *
            std::pow(10000.0, -static_cast<double>(m) / static_cast<double>(c.pairs));
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
    for (Index n = 0; n < c.batch * c.positions; ++n)
      position.push_back(static_cast<std::int32_t>(n * 7 % kPositions));
  }
};

View<float, 4> heads_of(const RotaryCase& c, float* data) {
  const Index row = c.heads * c.width;
  return {data, {c.batch, c.positions, c.heads, c.width}, {c.positions * row, row, c.width, 1}};
}

Rotary arguments(const Inputs& in, const float* x, float* y) {
  const RotaryCase& c = in.shape;
  Rotary args;
  args.x_BTHC = heads_of(c, const_cast<float*>(x));
  args.position_BT = view(in.position.data(), c.batch, c.positions);
  args.cos_PM = view(in.cos.data(), kPositions, c.pairs);
  args.sin_PM = view(in.sin.data(), kPositions, c.pairs);
  args.pairs = c.kind;
  args.back = c.back;
  args.y_BTHC = heads_of(c, y);
  return args;
}

std::vector<float> run(const Inputs& in, Isa isa, const Executor& executor = serial()) {
  Guarded<float> y(static_cast<Index>(in.x.size()));
  rotary(arguments(in, in.x.data(), y.data()), {isa, &executor});
  return y.values();
}

using RotaryVariant = VariantTest<Isa, RotaryCase>;

TEST_P(RotaryVariant, MatchesReference) {
  const auto& [isa, shape] = GetParam();
  const Inputs in(shape);
  const std::vector<float> want = run(in, Isa::reference);
  const std::vector<float> scale(want.size(), 4);  // of normals and of cosines at most 1
  EXPECT_LE(worst_error(run(in, isa), want, scale, 3 * kRounding), 1);
}

TEST_P(RotaryVariant, TurnsInPlace) {
  const auto& [isa, shape] = GetParam();
  const Inputs in(shape);
  Guarded<float> y(static_cast<Index>(in.x.size()));
  std::copy(in.x.begin(), in.x.end(), y.data());
  rotary(arguments(in, y.data(), y.data()), {isa, &serial()});
  EXPECT_EQ(y.values(), run(in, isa));
}

INSTANTIATE_TEST_SUITE_P(All, RotaryVariant,
                         ::testing::Combine(::testing::ValuesIn(all_isas()),
                                            ::testing::ValuesIn(cases())),
                         [](const auto& each) { return print_variant_case(each); });

// Position 1, base 10000, four columns: angles 1 and 0.01.
TEST(Rotary, TurnsTheFirstPairByThePosition) {
  Inputs in({1, 1, 1, 4, 2});
  in.position = {1};
  in.x = {1, 2, 3, 4};
  const std::vector<float> halves = run(in, Isa::amx);
  EXPECT_NEAR(halves[0], std::cos(1.0) - 3 * std::sin(1.0), 1e-6);
  EXPECT_NEAR(halves[1], 2 * std::cos(0.01) - 4 * std::sin(0.01), 1e-6);
  EXPECT_NEAR(halves[2], 3 * std::cos(1.0) + std::sin(1.0), 1e-6);
  in.shape.kind = RotaryPairs::adjacent;
  const std::vector<float> adjacent = run(in, Isa::amx);
  EXPECT_NEAR(adjacent[0], std::cos(1.0) - 2 * std::sin(1.0), 1e-6);
  EXPECT_NEAR(adjacent[3], 4 * std::cos(0.01) + 3 * std::sin(0.01), 1e-6);
}

TEST(Rotary, BackUndoesIt) {
  for (const RotaryPairs kind : {RotaryPairs::halves, RotaryPairs::adjacent}) {
    Inputs in({2, 9, 2, 20, 9, kind});
    Inputs turned = in;
    turned.x = run(in, Isa::amx);
    turned.shape.back = true;
    const std::vector<float> scale(in.x.size(), 4);
    EXPECT_LE(worst_error(run(turned, Isa::amx), in.x, scale, 4 * kRounding), 1);
  }
}

// A score depends on the distance alone.
TEST(Rotary, ProductsDependOnTheDistance) {
  const auto product = [](int query, int key) {
    Inputs in({1, 2, 1, 16, 8});
    in.position = {query, key};
    const std::vector<float> y = run(in, Isa::amx);
    double sum = 0;
    for (std::size_t c = 0; c < 16; ++c)
      sum += static_cast<double>(y[c]) * static_cast<double>(y[16 + c]);
    return sum;
  };
  EXPECT_NEAR(product(5, 2), product(33, 30), 1e-4);
  EXPECT_GT(std::abs(product(5, 2) - product(5, 3)), 1e-2);
}

TEST(Rotary, RefusesPositionsBeyondTheTables) {
  Inputs in({1, 2, 1, 4, 2});
  in.position = {0, kPositions};
  EXPECT_THROW(run(in, Isa::reference), Error);
  in.position = {-1, 0};
  EXPECT_THROW(run(in, Isa::reference), Error);
}

TEST(Rotary, ThreadsDoNotChangeABit) {
  const Inputs in({3, 37, 4, 12, 5});
  const ThreadPool pool(3);
  EXPECT_EQ(run(in, Isa::amx), run(in, Isa::amx, pool));
}

}  // namespace
}  // namespace mote::kernels
