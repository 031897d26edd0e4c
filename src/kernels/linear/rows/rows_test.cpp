#include "kernels/linear/rows/rows.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

struct RowsCase {
  Index tokens, slots, columns;
  bool weighted = false, add = false;
};

std::string case_name(const RowsCase& c) {
  return word("tokens", c.tokens) + word("_slots", c.slots) + word("_columns", c.columns) +
         (c.weighted ? "_weighted" : "") + (c.add ? "_added" : "");
}

std::vector<RowsCase> cases() {
  std::vector<RowsCase> all = {{0, 2, 8}, {130, 4, 100, true, true}};
  for (Index columns : {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33})
    for (const bool weighted : {false, true})
      all.push_back({5, columns % 4 + 1, columns, weighted, columns % 3 == 0});
  return all;
}

// Position of each flat row: a permutation that is not in order.
std::vector<std::int32_t> positions(Index rows) {
  std::vector<std::int32_t> p;
  for (Index r = 0; r < rows; ++r) p.push_back(static_cast<std::int32_t>(rows - 1 - r));
  if (rows > 2) std::swap(p[0], p[static_cast<std::size_t>(rows / 2)]);
  return p;
}

template <class Args>
using RowsVariant = VariantTest<Args, RowsCase>;
using CombineRowsVariant = RowsVariant<CombineRows>;

TEST_P(CombineRowsVariant, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const Index rows = shape.tokens * shape.slots;
  const std::vector<std::int32_t> position = positions(rows);
  const auto combine = [&](const Variant<CombineRows>& by, const std::vector<float>& p,
                           const std::vector<float>& weight, const std::vector<float>& before) {
    Guarded<float> y(shape.tokens * shape.columns);
    std::copy(before.begin(), before.end(), y.data());
    by.call({view(p.data(), rows, shape.columns), view(position.data(), shape.tokens, shape.slots),
             shape.weighted ? weight.data() : nullptr, view(y.data(), shape.tokens, shape.columns),
             shape.add},
            {});
    return y.values();
  };
  const std::vector<float> p = normals(rows * shape.columns, 1), weight = normals(rows, 2),
                           y = normals(shape.tokens * shape.columns, 3);
  const Variant<CombineRows>& reference = combine_rows_variants().front();
  // One rounding per slot, of the result and of a product without fused addition.
  EXPECT_LE(worst_error(combine(variant, p, weight, y), combine(reference, p, weight, y),
                        combine(reference, absolute(p), absolute(weight), absolute(y)),
                        static_cast<double>(shape.slots + 2) * kRounding),
            1);
}

INSTANTIATE_TEST_SUITE_P(All, CombineRowsVariant,
                         ::testing::Combine(::testing::ValuesIn(combine_rows_variants().begin(),
                                                                combine_rows_variants().end()),
                                            ::testing::ValuesIn(cases())),
                         [](const auto& each) { return print_variant_case(each); });

using ReluBackwardRowsVariant = RowsVariant<ReluBackwardRows>;

TEST_P(ReluBackwardRowsVariant, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const Index rows = shape.tokens * shape.slots, columns = shape.columns;
  const std::vector<std::int32_t> order = positions(rows);
  std::vector<float> u = normals(rows * columns, 1);
  for (float& each : u) each = std::max(each, 0.0f);
  const std::vector<float> t = normals(rows * columns, 2), gate = normals(rows, 3);
  struct Result {
    std::vector<float> t, dgate;
  };
  const auto call = [&](const Variant<ReluBackwardRows>& by, const std::vector<float>& before) {
    Guarded<float> out(rows * columns), dgate(rows);
    std::copy(before.begin(), before.end(), out.data());
    by.call({view<const float>(u.data(), rows, columns), view(out.data(), rows, columns),
             order.data(), gate.data(), dgate.data()},
            {});
    return Result{out.values(), dgate.values()};
  };
  const Variant<ReluBackwardRows>& reference = relu_backward_rows_variants().front();
  const Result got = call(variant, t), want = call(reference, t);
  EXPECT_EQ(got.t, want.t) << "a product of two numbers is rounded once";
  EXPECT_LE(worst_error(got.dgate, want.dgate, call(reference, absolute(t)).dgate,
                        static_cast<double>(columns + 1) * kRounding),
            1);
}

INSTANTIATE_TEST_SUITE_P(
    All, ReluBackwardRowsVariant,
    ::testing::Combine(::testing::ValuesIn(relu_backward_rows_variants().begin(),
                                           relu_backward_rows_variants().end()),
                       ::testing::ValuesIn(cases())),
    [](const auto& each) { return print_variant_case(each); });

TEST(CombineRows, HasTheSameBitsForAnyThreads) {
  const Index tokens = 200, slots = 3, columns = 33;
  const std::vector<std::int32_t> position = positions(tokens * slots);
  const std::vector<float> p = normals(tokens * slots * columns, 1);
  const auto combine = [&](const kernels::Run& run) {
    std::vector<float> y(static_cast<std::size_t>(tokens * columns));
    combine_rows({view(p.data(), tokens * slots, columns), view(position.data(), tokens, slots),
                  nullptr, view(y.data(), tokens, columns)},
                 run);
    return y;
  };
  const ThreadPool three(3);
  EXPECT_EQ(combine({Isa::amx, &three}), combine({}));
}

TEST(CombineRows, RefusesPositionsOfOtherTokens) {
  const std::vector<std::int32_t> position(6);
  std::vector<float> p(6 * 4), y(2 * 4);
  EXPECT_THROW(combine_rows({view<const float>(p.data(), 6, 4), view(position.data(), 3, 2),
                             nullptr, view(y.data(), 2, 4)},
                            {}),
               Error);
}

}  // namespace
}  // namespace mote::kernels
