#include "kernels/packed/rounding/rounding.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/check.h"
#include "kernels/core/dtype.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/packed/rounding/rounding_cases.h"

namespace mote::kernels {
namespace {

using Symbols = std::vector<std::uint8_t>;

struct Result {
  Symbols symbols;
  std::vector<float> objective, levels;
};

std::vector<float> levels_of(View<const float, 3> w, Grid grid, bool stored = false) {
  std::vector<float> levels(static_cast<std::size_t>(2 * w.size(0) * w.size(1)));
  row_levels({w, grid, stored, view(levels.data(), w.size(0), w.size(1), Index{2})}, {});
  return levels;
}

Symbols nearest(View<const float, 3> w, Grid grid, std::vector<float> levels,
                const Variant<RoundToNearest>& variant = round_to_nearest_variants()[0],
                const Run& run = {}) {
  Guarded<std::uint8_t> symbols(w.size(0) * w.size(1) * w.size(2));
  variant.call({w, grid, view(levels.data(), w.size(0), w.size(1), Index{2}),
                view(symbols.data(), w.size(0), w.size(1), w.size(2))},
               run);
  return symbols.values();
}

Result corrected(View<const float, 3> w, View<const float, 3> u, Grid grid,
                 const Variant<Gptq>& variant = gptq_variants()[0], Index block = 128,
                 const Run& run = {}) {
  const Index experts = w.size(0), rows = w.size(1), columns = w.size(2);
  Guarded<std::uint8_t> symbols(experts * rows * columns);
  Guarded<float> objective(experts * rows);
  std::vector<float> levels = levels_of(w, grid);
  std::vector<std::byte> scratch(
      static_cast<std::size_t>(gptq_scratch(columns, run.executor->threads())));
  variant.call({w, u, grid, view(levels.data(), experts, rows, Index{2}),
                view(symbols.data(), experts, rows, columns), view(objective.data(), experts, rows),
                view(scratch.data(), static_cast<Index>(scratch.size())), block},
               run);
  return {symbols.values(), objective.values(), levels};
}

// Per row, (w - q)' H (w - q) in double.
Doubles objectives(const RoundingData& data, const Symbols& symbols,
                   const std::vector<float>& levels) {
  const Index columns = data.shape.columns, rows = data.shape.experts * data.shape.rows;
  Doubles all;
  for (Index r = 0; r < rows; ++r) {
    const double* h = data.h.data() + r / data.shape.rows * columns * columns;
    Doubles error(static_cast<std::size_t>(columns));
    for (Index c = 0; c < columns; ++c) {
      const auto at = static_cast<std::size_t>(r * columns + c);
      const float q = grid_value(data.shape.grid, levels.data() + 2 * r, symbols[at]);
      error[static_cast<std::size_t>(c)] = static_cast<double>(data.w[at]) - static_cast<double>(q);
    }
    double sum = 0;
    for (Index i = 0; i < columns; ++i)
      for (Index j = 0; j < columns; ++j)
        sum += error[static_cast<std::size_t>(i)] * h[i * columns + j] *
               error[static_cast<std::size_t>(j)];
    all.push_back(sum);
  }
  return all;
}

double sum_of(const auto& values) {
  double sum = 0;
  for (auto value : values) sum += static_cast<double>(value);
  return sum;
}

View<const float, 3> one_row(const std::vector<float>& w) {
  return view(w.data(), Index{1}, Index{1}, static_cast<Index>(w.size()));
}

TEST(RowLevels, OfTernaryRowsAreTheExtremesAndZero) {
  const auto levels = [](const std::vector<float>& w) {
    return levels_of(one_row(w), Grid::ternary);
  };
  EXPECT_EQ(levels({-0.5f, 0.28f, 0.6f, 0.2f}), (std::vector<float>{-0.5f, 0.6f}));
  EXPECT_EQ(levels({0.5f, 0.25f}), (std::vector<float>{0, 0.5f}));
  EXPECT_EQ(levels({-0.5f, -0.25f}), (std::vector<float>{-0.5f, 0}));
  EXPECT_EQ(levels({0, 0}), (std::vector<float>{-1, 1}));
}

TEST(RowLevels, OfTwoBitRowsAreThePublishedExample) {
  const std::vector<float> w{-0.5f, 0.28f, 0.6f, 0.2f};
  const std::vector<float> levels = levels_of(one_row(w), Grid::two_bit);
  EXPECT_NEAR(levels[0], 0.366667, 1e-6);
  EXPECT_EQ(levels[1], 1);
  const Symbols codes = nearest(one_row(w), Grid::two_bit, levels);
  const double want[] = {-0.366667, 0.366667, 0.733333, 0.366667};
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(grid_value(Grid::two_bit, levels.data(), codes[i]), want[i], 1e-6);
}

TEST(RowLevels, AreRoundedToBfloat16WhereStored) {
  const std::vector<float> w{-0.501f, 0.6003f};
  for (Grid grid : {Grid::ternary, Grid::two_bit}) {
    const std::vector<float> levels = levels_of(one_row(w), grid, true);
    EXPECT_EQ(levels[0], from_bf16(to_bf16(levels[0])));
    EXPECT_NEAR(levels[0], levels_of(one_row(w), grid)[0], 0.004);
  }
}

TEST(RowLevels, OfVanishingRowsAreUsable) {
  const std::vector<float> w{-1e-45f, 1e-45f};
  for (Grid grid : {Grid::ternary, Grid::two_bit}) {
    const std::vector<float> levels = levels_of(one_row(w), grid, true);
    for (std::uint8_t symbol : nearest(one_row(w), grid, levels))
      EXPECT_LE(std::abs(grid_value(grid, levels.data(), symbol)), 1e-38);
  }
}

TEST(RowLevels, RefuseWeightsThatAreNotFinite) {
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> w{0.5f, bad, -1};
    EXPECT_THROW(levels_of(one_row(w), Grid::ternary), Error);
  }
}

TEST(RoundToNearest, TernaryTiesGoToZero) {
  const std::vector<float> w{1, 0.5f, 0.50001f, -1, -0.5f, -0.50001f, 0};
  EXPECT_EQ(nearest(one_row(w), Grid::ternary, {-1, 1}), (Symbols{2, 0, 2, 1, 0, 1, 0}));
}

TEST(RoundToNearest, ALevelOfZeroIsNeverCoded) {
  const std::vector<float> w{0.1f, -0.1f, 1, 0};
  for (const auto& variant : round_to_nearest_variants())
    if (supported(variant.isa)) {
      EXPECT_EQ(nearest(one_row(w), Grid::ternary, {0, 1}, variant), (Symbols{0, 0, 2, 0}));
    }
}

// Section 2.2: the share of zeros in Gaussian rows is a property of the grid and the row length.
TEST(RoundToNearest, GaussianRowsHaveThePublishedShareOfZeros) {
  struct Row {
    Index width;
    double ternary, two_bit;
  };
  for (const Row& row : {Row{768, 88.1, 70.5}, Row{2080, 91.0, 74.7}, Row{6144, 93.4, 78.4}}) {
    const Index rows = 1'000'000 / row.width;
    std::vector<float> w(static_cast<std::size_t>(rows * row.width));
    const Rng rng(5, Purpose::test);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(rng.normal(i));
    const auto w_ERC = view<const float>(w.data(), 1, rows, row.width);
    for (Grid grid : {Grid::ternary, Grid::two_bit}) {
      const std::vector<float> levels = levels_of(w_ERC, grid);
      const Symbols symbols = nearest(w_ERC, grid, levels);
      double zeros = 0;
      for (std::size_t i = 0; i < symbols.size(); ++i) {
        const std::size_t r = i / static_cast<std::size_t>(row.width);
        zeros += grid_value(grid, levels.data() + 2 * r, symbols[i]) == 0;
      }
      EXPECT_NEAR(100 * zeros / static_cast<double>(w.size()),
                  grid == Grid::ternary ? row.ternary : row.two_bit, 0.4)
          << "width " << row.width;
    }
  }
}

using RoundToNearestVariant = VariantTest<Variant<RoundToNearest>, RoundingCase>;

TEST_P(RoundToNearestVariant, GivesTheSymbolsOfTheReference) {
  const auto& [variant, shape] = GetParam();
  const RoundingData data(shape, 3);
  const std::vector<float> levels = levels_of(data.weights(), shape.grid);
  const ThreadPool pool(2);
  EXPECT_EQ(nearest(data.weights(), shape.grid, levels, variant, {Isa::amx, &pool}),
            nearest(data.weights(), shape.grid, levels));
}

const auto print = [](const auto& each) { return print_variant_case(each); };
template <class Args>
auto variants_and_cases(std::span<const Variant<Args>> variants) {
  return ::testing::Combine(::testing::ValuesIn(variants.begin(), variants.end()),
                            ::testing::ValuesIn(rounding_cases()));
}
INSTANTIATE_TEST_SUITE_P(All, RoundToNearestVariant,
                         variants_and_cases(round_to_nearest_variants()), print);

class GptqVariant : public VariantTest<Variant<Gptq>, RoundingCase> {
 protected:
  RoundingData data() const { return {shape(), 3}; }
  Result result(const RoundingData& of, Index block = 128, const kernels::Run& run = {}) const {
    return corrected(of.weights(), of.factors(), of.shape.grid, row(), block, run);
  }
};

// A weight within float32's rounding of a threshold may go either way, and then what follows it in
// the row differs too; the sum of the objectives stays the same to 1e-3, and most rows are equal.
TEST_P(GptqVariant, AgreesWithTheReference) {
  const RoundingData made = data();
  const Result got = result(made);
  const Result want = corrected(made.weights(), made.factors(), made.shape.grid);
  EXPECT_NEAR(sum_of(got.objective), sum_of(want.objective), 1e-3 * sum_of(want.objective));
  std::size_t differing = 0;
  for (std::size_t i = 0; i < want.symbols.size(); ++i)
    differing += got.symbols[i] != want.symbols[i];
  EXPECT_LE(differing, want.symbols.size() / 100);
}

TEST_P(GptqVariant, ObjectiveIsThatOfItsRounding) {
  const RoundingData made = data();
  const Result got = result(made);
  const Doubles want = objectives(made, got.symbols, got.levels);
  for (std::size_t r = 0; r < want.size(); ++r)
    EXPECT_NEAR(got.objective[r], want[r], 1e-3 * want[r]) << "row " << r;
}

TEST_P(GptqVariant, BlocksOfAnySizeAgree) {
  const RoundingData made = data();
  const Result whole = result(made);
  for (Index block : {1, 7, 128}) {
    const Result got = result(made, block);
    EXPECT_NEAR(sum_of(got.objective), sum_of(whole.objective), 1e-3 * sum_of(whole.objective))
        << "blocks of " << block;
  }
}

TEST_P(GptqVariant, HasTheSameBitsForAnyThreads) {
  const RoundingData made = data();
  const ThreadPool pool(3);
  const Result one = result(made), three = result(made, 128, {Isa::amx, &pool});
  EXPECT_EQ(one.symbols, three.symbols);
  EXPECT_EQ(one.objective, three.objective);
}

TEST_P(GptqVariant, ExpertsInABatchAreThoseOfSingleRuns) {
  const RoundingData made = data();
  const Result batch = result(made);
  const Index rows = made.shape.rows, columns = made.shape.columns;
  for (Index e = 0; e < made.shape.experts; ++e) {
    const Result one =
        corrected(view(made.w.data() + e * rows * columns, Index{1}, rows, columns),
                  view(made.u.data() + e * columns * columns, Index{1}, columns, columns),
                  made.shape.grid, row());
    EXPECT_TRUE(std::equal(one.symbols.begin(), one.symbols.end(),
                           batch.symbols.begin() + e * rows * columns));
  }
}

TEST_P(GptqVariant, WithADiagonalFactorIsRoundingToNearest) {
  RoundingData made = data();
  const Index columns = made.shape.columns;
  for (Index i = 0; i < static_cast<Index>(made.u.size()); ++i) {
    const Index row = i / columns % columns, column = i % columns;
    made.u[static_cast<std::size_t>(i)] = row == column ? 1 + static_cast<float>(row) / 7 : 0;
  }
  const std::vector<float> levels = levels_of(made.weights(), made.shape.grid);
  EXPECT_EQ(result(made).symbols, nearest(made.weights(), made.shape.grid, levels));
}

INSTANTIATE_TEST_SUITE_P(All, GptqVariant, variants_and_cases(gptq_variants()), print);

// Section 2.3's worked example.
class GptqVector : public ::testing::Test {
 protected:
  const std::vector<float> x{1, 1, 0, 1, 2, 1, 1, 2, 0, 1, 1, 1,
                             1, 2, 1, 2, 1, 0, 0, 1, 2, 2, 1, 3};
  const std::vector<float> w{0.6f, 0.28f, -0.5f, 0.2f};

  std::vector<float> factor(double scale) const {
    return to_floats(factor_of_inverse(damped_moments(x, 4, 0.1, scale), 4));
  }
  double output_error(const Symbols& symbols, const std::vector<float>& levels) const {
    double sum = 0;
    for (std::size_t n = 0; n < 6; ++n) {
      double y = 0;
      for (std::size_t c = 0; c < 4; ++c)
        y += static_cast<double>(x[4 * n + c]) *
             static_cast<double>(w[c] - grid_value(Grid::ternary, levels.data(), symbols[c]));
      sum += y * y;
    }
    return sum;
  }
};

TEST_F(GptqVector, FactorIsThePublishedOne) {
  const double want[16] = {.343142, .021906, .040475, -.256949, 0, .354717, -.117654, -.190299,
                           0,       0,       .396153, -.149845, 0, 0,       0,        .125541};
  const std::vector<float> u = factor(3);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(u[i], want[i], 1e-6);
}

TEST_F(GptqVector, RoundsAsPublishedInEveryVariant) {
  for (const auto& variant : gptq_variants()) {
    if (!supported(variant.isa)) continue;
    for (double scale : {3.0, 1.0, 1.0 / 3}) {
      const std::vector<float> u = factor(scale);
      const Result got = corrected(one_row(w), view(u.data(), Index{1}, Index{4}, Index{4}),
                                   Grid::ternary, variant);
      EXPECT_EQ(got.symbols, (Symbols{2, 0, 1, 2})) << name(variant.isa) << " scale " << scale;
      EXPECT_NEAR(got.objective[0], 3.601680 * scale / 3, 1e-4 * scale / 3) << name(variant.isa);
      EXPECT_NEAR(output_error(got.symbols, got.levels), 0.9264, 1e-4);
    }
  }
}

TEST_F(GptqVector, RoundingToNearestIsThePublishedLossMore) {
  const std::vector<float> levels = levels_of(one_row(w), Grid::ternary);
  const Symbols symbols = nearest(one_row(w), Grid::ternary, levels);
  EXPECT_EQ(symbols, (Symbols{2, 0, 1, 0}));
  EXPECT_NEAR(output_error(symbols, levels), 3.2304, 1e-4);
}

TEST(GptqObjective, IsBelowThatOfRoundingToNearestOnAverage) {
  for (Grid grid : {Grid::ternary, Grid::two_bit}) {
    double gptq_sum = 0, nearest_sum = 0;
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const RoundingData data({1, 40, 64, grid}, seed);
      const Result got = corrected(data.weights(), data.factors(), grid);
      gptq_sum += sum_of(got.objective);
      nearest_sum +=
          sum_of(objectives(data, nearest(data.weights(), grid, got.levels), got.levels));
    }
    EXPECT_LT(gptq_sum, 0.8 * nearest_sum);
  }
}

class GptqRefuses : public ::testing::Test {
 protected:
  RoundingData data{{1, 3, 5, Grid::ternary}, 1};

  void run(Index scratch_bytes = gptq_scratch(5, 1), Index block = 128) {
    std::vector<float> levels(6, 1), objective(3);
    Symbols symbols(15);
    std::vector<std::byte> scratch(static_cast<std::size_t>(scratch_bytes));
    gptq({data.weights(), data.factors(), Grid::ternary,
          view(levels.data(), Index{1}, Index{3}, Index{2}),
          view(symbols.data(), Index{1}, Index{3}, Index{5}),
          view(objective.data(), Index{1}, Index{3}), view(scratch.data(), scratch_bytes), block},
         {});
  }
};

TEST_F(GptqRefuses, NothingThatFits) {
  EXPECT_NO_THROW(run());
}
TEST_F(GptqRefuses, ADiagonalThatIsNotPositive) {
  for (float bad : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    data.u[6] = bad;
    EXPECT_THROW(run(), Error);
  }
}
TEST_F(GptqRefuses, FactorsThatAreNotFinite) {
  data.u[1] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(run(), Error);
}
TEST_F(GptqRefuses, ShapesThatDisagree) {
  data.shape.rows = 2;
  EXPECT_THROW(run(), Error);
}
TEST_F(GptqRefuses, TooLittleScratch) {
  EXPECT_THROW(run(64), Error);
}
TEST_F(GptqRefuses, BlocksItCannotHold) {
  EXPECT_THROW(run(gptq_scratch(5, 1), 0), Error);
  EXPECT_THROW(run(gptq_scratch(5, 1), 129), Error);
}

}  // namespace
}  // namespace mote::kernels
