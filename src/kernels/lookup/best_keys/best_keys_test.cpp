#include "kernels/lookup/best_keys/best_keys.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/lookup/best_keys/best_keys_cases.h"

namespace mote::kernels {
namespace {

struct Found {
  std::vector<std::int32_t> row;
  std::vector<float> score;
};

// By the rows at `place`: both tables have the same instruction sets in the same order.
Found found(const BestKeysData& data, std::size_t place) {
  const BestKeysCase& c = data.shape;
  const Variant<LayOutKeys>& lay_out = lay_out_keys_variants()[place];
  const Variant<BestKeys>& best = best_keys_variants()[place];
  EXPECT_EQ(lay_out.isa, best.isa);
  BestKeysMemory memory(data, lay_out);
  EXPECT_TRUE(laid_out(memory.keys.front().bytes));
  Guarded<std::int32_t> row(c.queries * c.k);
  Guarded<float> score(c.queries * c.k);
  best.call({data.q_MC(), data.keys_NC(), memory.keys.front().bytes, memory.work.front().bytes,
             view(row.data(), c.queries, c.k), view(score.data(), c.queries, c.k)},
            {});
  return {row.values(), score.values()};
}

class BestKeysVariant : public VariantTest<Isa, BestKeysCase> {
 protected:
  std::size_t place() const {
    for (std::size_t i = 0; i < best_keys_variants().size(); ++i)
      if (best_keys_variants()[i].isa == row()) return i;
    return 0;
  }
};

std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const auto& variant : best_keys_variants()) all.push_back(variant.isa);
  return all;
}

double exact_score(const BestKeysData& data, Index m, Index j) {
  double sum = 0;
  for (Index c = 0; c < data.shape.columns; ++c)
    sum += static_cast<double>(data.q_MC()(m, c)) * static_cast<double>(data.keys_NC()(j, c));
  return sum;
}
double length(const float* x, Index columns) {
  double sum = 0;
  for (Index c = 0; c < columns; ++c) sum += std::pow(static_cast<double>(x[c]), 2);
  return std::sqrt(sum);
}

// Where sums are exact every key must be the reference's; elsewhere scores agree place by place, and each is
// its key's, to the rounding of a sum.
TEST_P(BestKeysVariant, FindsTheBestOfAllKeys) {
  const BestKeysData data(shape());
  const BestKeysCase& c = data.shape;
  const Found got = found(data, place()), want = found(data, 0);
  if (data.exact()) {
    EXPECT_EQ(got.row, want.row);
    EXPECT_EQ(got.score, want.score);
    return;
  }
  for (Index m = 0; m < c.queries; ++m) {
    std::set<std::int32_t> rows;
    for (Index r = 0; r < c.k; ++r) {
      const auto at = static_cast<std::size_t>(m * c.k + r);
      const Index j = got.row[at];
      ASSERT_TRUE(j >= 0 && j < c.keys) << j;
      rows.insert(got.row[at]);
      if (std::isnan(want.score[at]) || std::isinf(want.score[at])) {
        EXPECT_EQ(got.row[at], want.row[at]) << m << ", place " << r;
        continue;
      }
      const double room =
          static_cast<double>(c.columns + 8) * kRounding * length(data.q_MC().row(m), c.columns);
      const auto norm = [&](Index key) { return length(data.keys_NC().row(key), c.columns); };
      EXPECT_NEAR(got.score[at], exact_score(data, m, j), room * norm(j)) << m;
      EXPECT_NEAR(got.score[at], want.score[at], room * (norm(j) + norm(want.row[at])) + 1e-40)
          << m << ", place " << r;
    }
    EXPECT_EQ(static_cast<Index>(rows.size()), c.k) << m;
  }
}

INSTANTIATE_TEST_SUITE_P(All, BestKeysVariant,
                         ::testing::Combine(::testing::ValuesIn(isas()),
                                            ::testing::ValuesIn(best_keys_cases())),
                         [](const auto& each) { return print_variant_case(each); });

TEST(BestKeys, RefuseKeysThatEightBitsCannotStandFor) {
  for (const float value : {NAN, INFINITY, -INFINITY, 1e16f, 1e-16f}) {
    BestKeysData data({1, 256, 9, 2});
    for (Index c = 0; c < 9; ++c) data.key(77)[c] = std::isfinite(value) ? value : data.key(77)[c];
    data.key(77)[8] = value;
    for (const auto& lay_out : lay_out_keys_variants()) {
      if (lay_out.isa == Isa::reference || !supported(lay_out.isa)) continue;
      EXPECT_FALSE(laid_out(BestKeysMemory(data, lay_out).keys.front().bytes))
          << name(lay_out.isa) << " " << value;
    }
  }
}

}  // namespace
}  // namespace mote::kernels
