#include "kernels/linear/rows/rows.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

// How many rows each token has, by token.
enum class PerToken { same, ragged, all_on_one, none };

struct RowsCase {
  Index tokens, slots, columns;
  bool weighted = false, add = false;
  PerToken per_token = PerToken::same;
};

std::string case_name(const RowsCase& c) {
  constexpr const char* kNames[] = {"", "_ragged", "_all_on_one", "_none"};
  return word("tokens", c.tokens) + word("_slots", c.slots) + word("_columns", c.columns) +
         (c.weighted ? "_weighted" : "") + (c.add ? "_added" : "") +
         kNames[static_cast<int>(c.per_token)];
}

// [N + 1]: `slots` rows each; or 0, 1, 2, ... 2 * slots of them in turn; or all on one token.
std::vector<std::int32_t> first_rows(const RowsCase& c) {
  std::vector<std::int32_t> first = {0};
  for (Index n = 0; n < c.tokens; ++n) {
    Index count = c.slots;
    if (c.per_token == PerToken::ragged) count = n % (2 * c.slots + 1);
    if (c.per_token == PerToken::all_on_one) count = n == c.tokens / 2 ? c.slots * c.tokens : 0;
    if (c.per_token == PerToken::none) count = 0;
    first.push_back(first.back() + static_cast<std::int32_t>(count));
  }
  return first;
}

std::vector<RowsCase> cases() {
  std::vector<RowsCase> all = {{0, 2, 8}, {130, 4, 100, true, true}};
  for (Index columns : {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33})
    for (const bool weighted : {false, true})
      all.push_back({5, columns % 4 + 1, columns, weighted, columns % 3 == 0});
  for (const PerToken per_token : {PerToken::ragged, PerToken::all_on_one, PerToken::none})
    for (const bool weighted : {false, true})
      for (const bool add : {false, true}) all.push_back({7, 3, 17, weighted, add, per_token});
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
using RowsVariant = VariantTest<Variant<Args>, RowsCase>;
using CombineRowsVariant = RowsVariant<CombineRows>;

TEST_P(CombineRowsVariant, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const std::vector<std::int32_t> first = first_rows(shape), position = positions(first.back());
  const Index rows = first.back();
  const auto combine = [&](const Variant<CombineRows>& by, const std::vector<float>& p,
                           const std::vector<float>& weight, const std::vector<float>& before) {
    Guarded<float> y(shape.tokens * shape.columns);
    std::copy(before.begin(), before.end(), y.data());
    by.call({view(p.data(), rows, shape.columns), view(position.data(), rows),
             view(first.data(), shape.tokens + 1), shape.weighted ? weight.data() : nullptr,
             view(y.data(), shape.tokens, shape.columns), shape.add},
            {});
    return y.values();
  };
  const std::vector<float> p = normals(rows * shape.columns, 1), weight = normals(rows, 2),
                           y = normals(shape.tokens * shape.columns, 3);
  const Variant<CombineRows>& reference = combine_rows_variants().front();
  // One rounding per row of a token, of the result and of a product without fused addition.
  Index most = 0;
  for (std::size_t n = 1; n < first.size(); ++n)
    most = std::max<Index>(most, first[n] - first[n - 1]);
  EXPECT_LE(worst_error(combine(variant, p, weight, y), combine(reference, p, weight, y),
                        combine(reference, absolute(p), absolute(weight), absolute(y)),
                        static_cast<double>(most + 2) * kRounding),
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
  const ThreadPool two(2), five(5);
  for (const PerToken per_token : {PerToken::same, PerToken::ragged, PerToken::all_on_one}) {
    const RowsCase shape{200, 3, 33, false, false, per_token};
    const std::vector<std::int32_t> first = first_rows(shape), position = positions(first.back());
    const Index rows = first.back();
    const std::vector<float> p = normals(rows * shape.columns, 1);
    const auto combine = [&](const kernels::Run& run) {
      std::vector<float> y(static_cast<std::size_t>(shape.tokens * shape.columns));
      combine_rows({view(p.data(), rows, shape.columns), view(position.data(), rows),
                    view(first.data(), shape.tokens + 1), nullptr,
                    view(y.data(), shape.tokens, shape.columns)},
                   run);
      return y;
    };
    EXPECT_EQ(combine({Isa::amx, &two}), combine({})) << case_name(shape);
    EXPECT_EQ(combine({Isa::amx, &five}), combine({})) << case_name(shape);
  }
}

TEST(CombineRows, GivesTokensWithoutRowsZeroOrWhatTheyHeld) {
  const std::vector<std::int32_t> position = {1, 0}, first = {0, 0, 2, 2};
  const std::vector<float> p = {1, 2, 3, 4};
  for (const bool add : {false, true}) {
    std::vector<float> y(3 * 2, 7);
    combine_rows({view(p.data(), 2, 2), view(position.data(), 2), view(first.data(), 4), nullptr,
                  view(y.data(), 3, 2), add},
                 {});
    const float kept = add ? 7 : 0;
    EXPECT_EQ(y, (std::vector<float>{kept, kept, 4 + kept, 6 + kept, kept, kept}));
  }
}

TEST(CombineRows, RefusesAnIndexOfOtherTokensOrRows) {
  const std::vector<std::int32_t> position(6), first = {0, 3, 6};
  std::vector<float> p(6 * 4), y(3 * 4);
  const auto refusal = [&](Index rows, Index tokens) -> std::string {
    try {
      combine_rows({view<const float>(p.data(), rows, 4), view(position.data(), 6),
                    view(first.data(), 3), nullptr, view(y.data(), tokens, 4)},
                   {});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(6, 2), "accepted");
  EXPECT_NE(refusal(6, 3).find("first of 2 tokens, y has 3"), std::string::npos);
  EXPECT_NE(refusal(5, 2).find("p has 5 rows, positions 6"), std::string::npos);
}

}  // namespace
}  // namespace mote::kernels
