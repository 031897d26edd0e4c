#include "kernels/linear/gated/gated.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

struct GatedCase {
  Index rows, columns;
  UnitKind kind;
  bool up = true, limited = false;
};

const char* word_of(UnitKind kind) {
  constexpr const char* kWords[] = {"identity", "relu", "silu", "gelu", "gelu_tanh"};
  return kWords[static_cast<int>(kind)];
}

std::string case_name(const GatedCase& c) {
  return concat(word_of(c.kind), word("_rows", c.rows), word("_columns", c.columns),
                c.up ? "" : "_alone", c.limited ? "_limited" : "");
}

std::vector<GatedCase> cases() {
  std::vector<GatedCase> all;
  for (const UnitKind kind :
       {UnitKind::identity, UnitKind::relu, UnitKind::silu, UnitKind::gelu, UnitKind::gelu_tanh}) {
    for (const Index columns : {1, 7, 8, 9, 16, 17, 31, 33}) all.push_back({3, columns, kind});
    all.push_back({300, 96, kind});
    all.push_back({3, 40, kind, false});
    all.push_back({3, 40, kind, true, true});
  }
  all.push_back({0, 8, UnitKind::silu});
  return all;
}

Unit unit_of(const GatedCase& c) {
  if (!c.limited) return {c.kind};
  return {c.kind, 1.702f, 1, 2};
}

struct Inputs {
  GatedCase shape;
  std::vector<float> g, u, dh;
  explicit Inputs(const GatedCase& c)
      : shape(c),
        g(normals(c.rows * c.columns, 1, 4)),
        u(normals(c.rows * c.columns, 2, 2)),
        dh(normals(c.rows * c.columns, 3)) {}
  View<const float, 2> rows(const std::vector<float>& x) const {
    return view(x.data(), shape.rows, shape.columns);
  }
  View<const float, 2> up() const { return shape.up ? rows(u) : View<const float, 2>{}; }
};

struct Outputs {
  std::vector<float> h, dg, du;
};

Outputs run(const Inputs& in, Isa isa, const Executor& executor = serial()) {
  const Index n = in.shape.rows, d = in.shape.columns;
  Guarded<float> h(n * d), dg(n * d), du(n * d);
  std::fill_n(du.data(), n * d, 0.0f);
  const Run how{isa, &executor};
  gated({in.rows(in.g), in.up(), unit_of(in.shape), view(h.data(), n, d)}, how);
  gated_backward({in.rows(in.g), in.up(), in.rows(in.dh), unit_of(in.shape), view(dg.data(), n, d),
                  view(du.data(), n, d)},
                 how);
  return {h.values(), dg.values(), du.values()};
}

using GatedVariant = VariantTest<Isa, GatedCase>;

TEST_P(GatedVariant, MatchesReference) {
  const auto& [isa, shape] = GetParam();
  const Inputs in(shape);
  const Outputs got = run(in, isa), want = run(in, Isa::reference);
  // Of factors up to 16: erf is within 1.5e-7 of its value, exp within two units.
  const std::vector<float> scale(want.h.size(), 64);
  EXPECT_LE(worst_error(got.h, want.h, scale, 4 * kRounding), 1);
  EXPECT_LE(worst_error(got.dg, want.dg, scale, 8 * kRounding), 1);
  EXPECT_LE(worst_error(got.du, want.du, scale, 4 * kRounding), 1);
}

INSTANTIATE_TEST_SUITE_P(All, GatedVariant,
                         ::testing::Combine(::testing::ValuesIn(all_isas()),
                                            ::testing::ValuesIn(cases())),
                         [](const auto& each) { return print_variant_case(each); });

float unit_at(Unit unit, float x, Isa isa) {
  float y = 0;
  gated({view(&x, 1, 1), {}, unit, view(&y, 1, 1)}, {isa, &serial()});
  return y;
}

TEST(Gated, HasThePublishedValues) {
  for (const Isa isa : {Isa::reference, Isa::amx}) {
    EXPECT_NEAR(unit_at({UnitKind::gelu_tanh}, 1, isa), 0.841192, 1e-6);
    EXPECT_NEAR(unit_at({UnitKind::gelu}, 1, isa), 0.841345, 1e-6);
    EXPECT_NEAR(unit_at({UnitKind::silu}, 1, isa), 0.731059, 1e-6);
    EXPECT_NEAR(unit_at({UnitKind::silu, 1.702f}, 1, isa), 0.845795, 1e-6);
    EXPECT_EQ(unit_at({UnitKind::relu}, -1, isa), 0);
  }
}

TEST(Gated, EndsOfTheAxisAreFinite) {
  for (const Isa isa : {Isa::reference, Isa::amx})
    for (const UnitKind kind : {UnitKind::silu, UnitKind::gelu, UnitKind::gelu_tanh}) {
      EXPECT_EQ(unit_at({kind}, 1e10f, isa), 1e10f) << word_of(kind);
      EXPECT_NEAR(unit_at({kind}, -1e3f, isa), 0, 1e-6) << word_of(kind);
    }
}

TEST(Gated, NanStays) {
  for (const Isa isa : {Isa::reference, Isa::amx})
    for (const UnitKind kind :
         {UnitKind::identity, UnitKind::relu, UnitKind::silu, UnitKind::gelu, UnitKind::gelu_tanh})
      EXPECT_TRUE(std::isnan(unit_at({kind}, NAN, isa))) << word_of(kind);
}

TEST(Gated, GradientsAreFiniteDifferences) {
  for (const UnitKind kind : {UnitKind::silu, UnitKind::gelu, UnitKind::gelu_tanh})
    for (const bool limited : {false, true}) {
      const Inputs in({2, 9, kind, true, limited});
      const Outputs got = run(in, Isa::reference);
      constexpr float kStep = 1e-2f;
      const auto slope = [&](std::vector<float> Inputs::*of, std::size_t i) {
        Inputs up = in, down = in;
        (up.*of)[i] += kStep, (down.*of)[i] -= kStep;
        return static_cast<double>(in.dh[i]) *
               static_cast<double>(run(up, Isa::reference).h[i] - run(down, Isa::reference).h[i]) /
               (2 * static_cast<double>(kStep));
      };
      // The limit is a bend.
      const auto bent = [&](float x) {
        return limited && std::abs(std::abs(x) - unit_of(in.shape).limit) < 2 * kStep;
      };
      for (std::size_t i = 0; i < in.g.size(); ++i) {
        if (!bent(in.g[i])) {
          EXPECT_NEAR(got.dg[i], slope(&Inputs::g, i), 5e-3) << word_of(kind);
        }
        if (!bent(in.u[i])) {
          EXPECT_NEAR(got.du[i], slope(&Inputs::u, i), 5e-3) << word_of(kind);
        }
      }
    }
}

TEST(Gated, ThreadsDoNotChangeABit) {
  const Inputs in({500, 70, UnitKind::silu});
  const ThreadPool pool(3);
  const Outputs one = run(in, Isa::amx), three = run(in, Isa::amx, pool);
  EXPECT_EQ(one.h, three.h);
  EXPECT_EQ(one.dg, three.dg);
}

}  // namespace
}  // namespace mote::kernels
