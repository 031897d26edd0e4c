#include "kernels/lookup/table_rows/table_rows.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/lookup/table_rows/table_rows_cases.h"

namespace mote::kernels {
namespace {

// The same data with every number's size, for bounds.
TableRowsData sizes_of(const TableRowsCase& shape) {
  TableRowsData data(shape);
  data.values = absolute(data.values), data.weight = absolute(data.weight);
  data.x = absolute(data.x);
  for (std::size_t i = 0; i < data.halves.size(); ++i) data.halves[i] = to_bf16(data.values[i]);
  return data;
}

template <class Call>
std::vector<float> dots_by(const TableRowsData& data, const Call& call) {
  Guarded<float> out(data.shape.outputs * data.shape.per_output);
  call(data.dots(out.data()));
  return out.values();
}
template <class Call>
std::vector<float> sums_by(const TableRowsData& data, const Call& call) {
  Guarded<float> y(data.shape.outputs * data.shape.columns);
  std::copy(data.x.begin(), data.x.end(), y.data());
  call(data.sums(y.data()));
  return y.values();
}

using RowDotsVariant = VariantTest<Variant<RowDots>, TableRowsCase>;

TEST_P(RowDotsVariant, MatchesReference) {
  const TableRowsData data(shape()), sizes = sizes_of(shape());
  const auto by = [&](const TableRowsData& of, const Variant<RowDots>& variant) {
    return dots_by(of, [&](const RowDots& args) { variant.call(args, {}); });
  };
  const Variant<RowDots>& reference = row_dots_variants().front();
  EXPECT_LE(worst_error(by(data, row()), by(data, reference), by(sizes, reference),
                        static_cast<double>(shape().columns + 1) * kRounding),
            1);
}

using RowSumsVariant = VariantTest<Variant<RowSums>, TableRowsCase>;

TEST_P(RowSumsVariant, MatchesReference) {
  const TableRowsData data(shape()), sizes = sizes_of(shape());
  const auto by = [&](const TableRowsData& of, const Variant<RowSums>& variant) {
    return sums_by(of, [&](const RowSums& args) { variant.call(args, {}); });
  };
  const Variant<RowSums>& reference = row_sums_variants().front();
  EXPECT_LE(worst_error(by(data, row()), by(data, reference), by(sizes, reference),
                        static_cast<double>(2 * shape().per_output + 2) * kRounding),
            1);
}

const auto print = [](const auto& each) { return print_variant_case(each); };
INSTANTIATE_TEST_SUITE_P(All, RowDotsVariant,
                         ::testing::Combine(::testing::ValuesIn(row_dots_variants().begin(),
                                                                row_dots_variants().end()),
                                            ::testing::ValuesIn(table_rows_cases())),
                         print);
INSTANTIATE_TEST_SUITE_P(All, RowSumsVariant,
                         ::testing::Combine(::testing::ValuesIn(row_sums_variants().begin(),
                                                                row_sums_variants().end()),
                                            ::testing::ValuesIn(table_rows_cases())),
                         print);

TEST(TableRows, HaveTheSameBitsForAnyThreads) {
  const ThreadPool three(3);
  for (const bool ragged : {false, true}) {
    const TableRowsData data({90, 32, 40, Type::f32, ragged});
    const auto all = [&](const kernels::Run& run) {
      std::vector<float> numbers = sums_by(data, [&](const RowSums& args) { row_sums(args, run); });
      const std::vector<float> dots =
          dots_by(data, [&](const RowDots& args) { row_dots(args, run); });
      numbers.insert(numbers.end(), dots.begin(), dots.end());
      return numbers;
    };
    EXPECT_EQ(all({}), all({Isa::amx, &three}));
  }
}

// <row_dots(W, x), w> = <x, row_sums(W, w)>.
TEST(TableRows, DotsAndSumsAreAdjoint) {
  const TableRowsData data({20, 8, 33});
  const std::vector<float> dots = dots_by(data, [](const RowDots&args) { row_dots(args, {}); }),
                           sums = sums_by(data, [](const RowSums&args) { row_sums(args, {}); });
  double left = 0, right = 0;
  for (std::size_t i = 0; i < dots.size(); ++i)
    left += static_cast<double>(dots[i]) * static_cast<double>(data.weight[i]);
  for (std::size_t i = 0; i < sums.size(); ++i)
    right += static_cast<double>(sums[i]) * static_cast<double>(data.x[i]);
  EXPECT_NEAR(left, right, 1e-3);
}

TEST(TableRows, RefuseOtherWidths) {
  const TableRowsData data({4, 2, 8});
  RowDots dots = data.dots(nullptr);
  dots.x_ND.sizes[1] = 7;
  EXPECT_THROW(row_dots(dots, {}), Error);
  dots = data.dots(nullptr);
  dots.table.type = Type::f16;
  EXPECT_THROW(row_dots(dots, {}), Error);
}

}  // namespace
}  // namespace mote::kernels
