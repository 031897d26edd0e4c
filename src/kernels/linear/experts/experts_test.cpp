#include "kernels/linear/experts/experts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/linear/experts/experts_cases.h"

namespace mote::kernels {
namespace {

// Who computes: the reference, or the layer with an instruction set and a precision.
struct By {
  std::optional<Isa> isa;
  Precision precision = Precision::f32;
  const Executor* executor = &serial();
  Run run() const { return {*isa, executor}; }
};
const By kReference{};

struct Forward {
  std::vector<float> u, y;
};

// Outputs start as NaN: whatever is not written shows.
void spoil(Guarded<float>& x) {
  std::fill_n(x.data(), x.size(), NAN);
}

Forward forward(const ExpertsData& data, const By& by) {
  const ExpertsCase& s = data.shape;
  Guarded<float> u(data.rows() * s.width), y(s.tokens * s.dim);
  spoil(u), spoil(y);
  const ExpertsForward args{data.x_ND(),
                            data.gate_stack(),
                            data.up_stack(),
                            data.down_stack(),
                            {s.unit},
                            data.routes(),
                            data.gate.data(),
                            view(u.data(), data.rows(), s.width),
                            view(y.data(), s.tokens, s.dim),
                            by.precision};
  by.isa ? experts_forward(args, by.run()) : experts_forward_reference(args);
  return {u.values(), y.values()};
}

struct Backward {
  std::vector<float> dx, dgate, dup, ddown;
};

Backward backward(const ExpertsData& data, const std::vector<float>& u, const By& by) {
  const ExpertsCase& s = data.shape;
  const Index weights = s.experts * s.width * s.dim;
  Guarded<float> dx(s.tokens * s.dim), dgate(data.rows()), dup(weights), ddown(weights);
  for (Guarded<float>* each : {&dx, &dgate, &dup, &ddown}) spoil(*each);
  const ExpertsBackward args{data.x_ND(),
                             view(u.data(), data.rows(), s.width),
                             data.dy_ND(),
                             data.up_EGD(),
                             data.down_EDG(),
                             data.routes(),
                             data.gate.data(),
                             view(dx.data(), s.tokens, s.dim),
                             dgate.data(),
                             view(dup.data(), s.experts, s.width, s.dim),
                             view(ddown.data(), s.experts, s.dim, s.width),
                             by.precision};
  by.isa ? experts_backward(args, by.run()) : experts_backward_reference(args);
  return {dx.values(), dgate.values(), dup.values(), ddown.values()};
}

// A value that went through sums of `terms` products altogether and, in bfloat16, `factors` rounded
// operands (each off by 2^-8; 1 % for products of errors).
double tolerance(Index terms, int factors, Precision precision) {
  return static_cast<double>(terms + 8) * kRounding +
         (precision == Precision::bf16 ? 1.01 * factors * 0x1p-8 : 0);
}

struct Row {
  Isa isa;
  Precision precision;
};
Isa isa_of(const Row& row) {
  return row.isa;
}
std::string row_name(const Row& row) {
  return std::string(name(row.isa)) + (row.precision == Precision::bf16 ? "_bf16" : "_f32");
}
std::vector<Row> rows() {
  std::vector<Row> all;
  for (const Isa isa : all_isas())
    for (const Precision precision : {Precision::f32, Precision::bf16})
      all.push_back({isa, precision});
  return all;
}

class Experts : public VariantTest<Row, ExpertsCase> {
 protected:
  By by() const { return {row().isa, row().precision}; }
  ExpertsData data() const { return ExpertsData(shape()); }
};

TEST_P(Experts, ForwardMatchesReference) {
  const ExpertsData made = data();
  const ExpertsCase& s = made.shape;
  const Forward got = forward(made, by()), want = forward(made, kReference),
                scale = forward(made.sizes(), kReference);
  const Precision precision = by().precision;
  EXPECT_LE(worst_error(got.u, want.u, scale.u, tolerance(s.dim, 2, precision)), 1);
  EXPECT_LE(worst_error(got.y, want.y, scale.y,
                        tolerance(s.dim + s.width + made.most_rows(), 4, precision)),
            1);
}

TEST_P(Experts, BackwardMatchesReference) {
  const ExpertsData made = data();
  const ExpertsCase& s = made.shape;
  const std::vector<float> u = forward(made, kReference).u;
  const Backward got = backward(made, u, by()), want = backward(made, u, kReference),
                 scale = backward(made.sizes(), u, kReference);
  const Precision precision = by().precision;
  EXPECT_LE(worst_error(got.dx, want.dx, scale.dx,
                        tolerance(s.dim + s.width + made.most_rows(), 4, precision)),
            1);
  EXPECT_LE(
      worst_error(got.dgate, want.dgate, scale.dgate, tolerance(s.dim + s.width, 2, precision)), 1);
  EXPECT_LE(worst_error(got.dup, want.dup, scale.dup, tolerance(s.dim + made.rows(), 4, precision)),
            1);
  EXPECT_LE(worst_error(got.ddown, want.ddown, scale.ddown, tolerance(made.rows(), 2, precision)),
            1);
}

class MoreExperts : public Experts {};

// silu's slope is below 1.1, and of the sum of sizes it is at least half of it: a unit of two sums is
// off by at most 4.2 times what each sum is, compared with the unit of their sizes.
TEST_P(MoreExperts, ForwardMatchesReference) {
  const ExpertsData made = data();
  const ExpertsCase& s = made.shape;
  const Forward got = forward(made, by()), want = forward(made, kReference),
                scale = forward(made.sizes(), kReference);
  const Precision precision = by().precision;
  EXPECT_LE(worst_error(got.u, want.u, scale.u, 4.2 * tolerance(s.dim, 2, precision)), 1);
  EXPECT_LE(worst_error(got.y, want.y, scale.y,
                        4.2 * tolerance(s.dim + s.width + made.most_rows(), 4, precision)),
            1);
}

INSTANTIATE_TEST_SUITE_P(All, MoreExperts,
                         ::testing::Combine(::testing::ValuesIn(rows()),
                                            ::testing::ValuesIn(more_experts_cases())),
                         [](const auto& each) { return print_variant_case(each); });

INSTANTIATE_TEST_SUITE_P(All, Experts,
                         ::testing::Combine(::testing::ValuesIn(rows()),
                                            ::testing::ValuesIn(experts_cases())),
                         [](const auto& each) { return print_variant_case(each); });

TEST(ExpertsThreads, DoNotChangeABit) {
  const ThreadPool two(2), five(5);
  for (const ExpertsCase& shape : experts_cases()) {
    const ExpertsData data(shape);
    const By one{Isa::amx};
    const Forward a = forward(data, one);
    const Backward c = backward(data, a.u, one);
    for (const ThreadPool* pool : {&two, &five}) {
      const By many{Isa::amx, Precision::f32, pool};
      const Forward b = forward(data, many);
      EXPECT_EQ(a.u, b.u) << case_name(shape);
      EXPECT_EQ(a.y, b.y) << case_name(shape);
      const Backward d = backward(data, a.u, many);
      EXPECT_EQ(c.dx, d.dx) << case_name(shape);
      EXPECT_EQ(c.dgate, d.dgate) << case_name(shape);
      EXPECT_EQ(c.dup, d.dup) << case_name(shape);
      EXPECT_EQ(c.ddown, d.ddown) << case_name(shape);
    }
  }
}

TEST(ExpertsThreads, DoNotChangeABitOfThreeMatrices) {
  const ThreadPool two(2), five(5);
  for (const ExpertsCase& shape : more_experts_cases())
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      const ExpertsData data(shape);
      const Forward a = forward(data, {Isa::amx, precision});
      for (const ThreadPool* pool : {&two, &five}) {
        const Forward b = forward(data, {Isa::amx, precision, pool});
        EXPECT_EQ(a.u, b.u) << case_name(shape);
        EXPECT_EQ(a.y, b.y) << case_name(shape);
      }
    }
}

TEST(ExpertsHidden, GiveTheSameBitsWhetherUnitsAreKeptOrNot) {
  for (const ExpertsCase& shape : more_experts_cases()) {
    const ExpertsData data(shape);
    std::vector<float> y(static_cast<std::size_t>(shape.tokens * shape.dim), NAN);
    experts_forward({data.x_ND(),
                     data.gate_stack(),
                     data.up_stack(),
                     data.down_stack(),
                     {shape.unit},
                     data.routes(),
                     data.gate.data(),
                     {},
                     view(y.data(), shape.tokens, shape.dim)},
                    {});
    EXPECT_EQ(y, forward(data, {Isa::amx}).y) << case_name(shape);
  }
}

TEST(TokensWithoutRows, GetZeroOutputAndZeroGradient) {
  const ExpertsData data({30, 2, 4, 9, 10, Spread::even, PerToken::ragged});
  const By best{Isa::amx};
  const Forward made = forward(data, best);
  const Backward g = backward(data, made.u, best);
  const std::vector<float> zeros(9);
  for (std::size_t n = 0; n < 30; ++n) {
    const auto of_token = [&](const std::vector<float>& all) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(9 * n);
      return std::vector<float>(begin, begin + 9);
    };
    const bool none = data.first[n] == data.first[n + 1];
    EXPECT_EQ(of_token(made.y) == zeros, none) << n;
    EXPECT_EQ(of_token(g.dx) == zeros, none) << n;
  }
}

// The formula by hand: one number per token, one hidden unit, up = e + 1, down = 1.
TEST(RaggedExperts, AddTheRowsOfATokenEvenOfOneExpert) {
  const std::vector<std::int32_t> expert = {1, 1, 0}, first = {0, 2, 2, 3};
  std::vector<std::int32_t> ends(2), order(3), token(3), position(3);
  sort_routes({view(expert.data(), 3), view(first.data(), 4), 2, ends.data(), order.data(),
               token.data(), position.data()});
  std::vector<RowBlock> blocks(static_cast<std::size_t>(max_row_blocks(3, 2)));
  blocks.resize(static_cast<std::size_t>(make_row_blocks(ends.data(), 2, blocks.data())));
  const std::vector<float> x = {3, 5, 7}, up = {1, 2}, down = {1, 1}, gate = {0.5f, 0.25f, 2};
  std::vector<float> u(3), y(3, NAN);
  experts_forward({view(x.data(), 3, 1),
                   {},
                   stack_of(view(up.data(), 2, 1, 1)),
                   stack_of(view(down.data(), 2, 1, 1)),
                   {UnitKind::relu},
                   Routes{ends.data(), order.data(), token.data(), view(position.data(), 3),
                          view(first.data(), 4), blocks},
                   gate.data(),
                   view(u.data(), 3, 1),
                   view(y.data(), 3, 1)},
                  {});
  EXPECT_EQ(y, (std::vector<float>{6 * 0.5f + 6 * 0.25f, 0, 14}));
}

TEST(EmptyExperts, GetZeroGradients) {
  const ExpertsData data({30, 2, 4, 9, 10, Spread::odd_ones});
  const By best{Isa::amx};
  const Backward g = backward(data, forward(data, best).u, best);
  const auto expert = [&](const std::vector<float>& all, Index e) {
    return std::vector<float>(all.begin() + e * 90, all.begin() + (e + 1) * 90);
  };
  const std::vector<float> zeros(90);
  for (Index e = 0; e < 4; ++e) {
    EXPECT_EQ(expert(g.dup, e) == zeros, e % 2 == 0) << e;
    EXPECT_EQ(expert(g.ddown, e) == zeros, e % 2 == 0) << e;
  }
}

TEST(ExpertsCheck, RefusesMatricesOfAnotherWidth) {
  const ExpertsData data({3, 1, 2, 4, 5});
  std::vector<float> u(3 * 5), y(3 * 4);
  ExpertsForward args{data.x_ND(),         {},
                      data.up_stack(),     data.down_stack(),
                      {UnitKind::relu},    data.routes(),
                      data.gate.data(),    view(u.data(), 3, 5),
                      view(y.data(), 3, 4)};
  const ExpertsForward good = args;
  args.down_EDG = stack_of(view(data.down.data(), 2, 5, 4));
  EXPECT_THROW(experts_forward(args, {}), Error);
  args = good;
  args.gate_EGD = stack_of(view(data.up.data(), 2, 4, 5));
  EXPECT_THROW(experts_forward(args, {}), Error);
  args.gate_EGD = args.up_EGD;
  args.gate_EGD.type = Type::bf16;
  EXPECT_THROW(experts_forward(args, {}), Error);
  args.gate_EGD = args.up_EGD;
  EXPECT_NO_THROW(experts_forward(args, {}));
}

TEST(ExpertsCheck, RefusesAnIndexOfOtherTokens) {
  const ExpertsData data({3, 1, 2, 4, 5});
  std::vector<float> u(3 * 5), y(3 * 4);
  ExpertsForward args{data.x_ND(),         {},
                      data.up_stack(),     data.down_stack(),
                      {UnitKind::relu},    data.routes(),
                      data.gate.data(),    view(u.data(), 3, 5),
                      view(y.data(), 3, 4)};
  args.routes.first_N1 = view(data.first.data(), 3);
  try {
    experts_forward(args, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("x has 3 rows, routes 2 tokens"), std::string::npos);
  }
}

}  // namespace
}  // namespace mote::kernels
