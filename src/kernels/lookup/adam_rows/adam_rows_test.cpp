#include "kernels/lookup/adam_rows/adam_rows.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/core/random_cases.h"
#include "kernels/core/variant_test.h"

namespace mote::kernels {
namespace {

struct AdamCase {
  Index rows, columns, picked;
};
std::string case_name(const AdamCase& c) {
  return word("rows", c.rows) + word("_columns", c.columns) + word("_picked", c.picked);
}
std::vector<AdamCase> cases() {
  std::vector<AdamCase> all = {{5, 8, 0}, {200, 40, 150}};
  for (const Index columns : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33}) all.push_back({9, columns, 4});
  return all;
}

struct Data {
  AdamCase shape;
  std::vector<float> value, mean, square, grad;
  std::vector<std::int64_t> row;
  std::vector<RowMove> move;

  explicit Data(const AdamCase& c)
      : shape(c),
        value(normals(c.rows * c.columns, 1)),
        mean(normals(c.rows * c.columns, 2)),
        square(absolute(normals(c.rows * c.columns, 3))),
        grad(normals(c.picked * c.columns, 4)) {
    for (Index r = 0; r < c.picked; ++r) {
      row.push_back((7 * r + 2) % c.rows);
      const auto x = static_cast<float>(r % 5);
      move.push_back({1 - 0.01f * x, 0.02f * x, 1e-8f, 1 / (1 + x), 1 / (1 + 0.1f * x)});
    }
    // A row that no gradient has reached yet.
    if (c.picked > 0)
      for (Index d = 0; d < c.columns; ++d)
        mean[static_cast<std::size_t>(row[0] * c.columns + d)] =
            square[static_cast<std::size_t>(row[0] * c.columns + d)] = 0;
  }
};

// value, mean and square after a call, in one list.
template <class Call>
std::vector<float> after(const Data& data, const Call& call) {
  const Index count = data.shape.rows * data.shape.columns;
  Guarded<float> value(count), mean(count), square(count);
  std::copy(data.value.begin(), data.value.end(), value.data());
  std::copy(data.mean.begin(), data.mean.end(), mean.data());
  std::copy(data.square.begin(), data.square.end(), square.data());
  const auto whole = [&](Guarded<float>& x) {
    return view(x.data(), data.shape.rows, data.shape.columns);
  };
  call(AdamTable{whole(value), whole(mean), whole(square)});
  std::vector<float> all = value.values();
  for (const float x : mean.values()) all.push_back(x);
  for (const float x : square.values()) all.push_back(x);
  return all;
}
AdamRows adam_args(const Data& data, const AdamTable& table) {
  AdamRows args{table, view(data.row.data(), data.shape.picked),
                view(data.grad.data(), data.shape.picked, data.shape.columns)};
  args.factor = 0.7f, args.decay = 0.99f, args.rate = 0.01f, args.root = 1.5f;
  args.beta1 = 0.9f, args.beta2 = 0.95f, args.epsilon = 1e-8f;
  return args;
}
MoveRows move_args(const Data& data, const AdamTable& table) {
  return {table, view(data.row.data(), data.shape.picked), data.move.data()};
}
// Values and moments are of size 1, each made with a handful of roundings.
double error_of(const std::vector<float>& got, const std::vector<float>& want) {
  return worst_error(got, want, std::vector<float>(want.size(), 4), 8 * kRounding);
}

using AdamRowsVariant = VariantTest<Variant<AdamRows>, AdamCase>;
TEST_P(AdamRowsVariant, MatchesReference) {
  const Data data(shape());
  const auto by = [&](const Variant<AdamRows>& variant) {
    return after(data, [&](const AdamTable& t) { variant.call(adam_args(data, t), {}); });
  };
  EXPECT_LE(error_of(by(row()), by(adam_rows_variants().front())), 1);
}

using MoveRowsVariant = VariantTest<Variant<MoveRows>, AdamCase>;
TEST_P(MoveRowsVariant, MatchesReference) {
  const Data data(shape());
  const auto by = [&](const Variant<MoveRows>& variant) {
    return after(data, [&](const AdamTable& t) { variant.call(move_args(data, t), {}); });
  };
  EXPECT_LE(error_of(by(row()), by(move_rows_variants().front())), 1);
}

const auto print = [](const auto& each) { return print_variant_case(each); };
INSTANTIATE_TEST_SUITE_P(All, AdamRowsVariant,
                         ::testing::Combine(::testing::ValuesIn(adam_rows_variants().begin(),
                                                                adam_rows_variants().end()),
                                            ::testing::ValuesIn(cases())),
                         print);
INSTANTIATE_TEST_SUITE_P(All, MoveRowsVariant,
                         ::testing::Combine(::testing::ValuesIn(move_rows_variants().begin(),
                                                                move_rows_variants().end()),
                                            ::testing::ValuesIn(cases())),
                         print);

TEST(AdamRows, HaveTheSameBitsForAnyThreads) {
  const ThreadPool three(3);
  const Data data({200, 40, 150});
  const auto by = [&](const kernels::Run& run) {
    return after(data, [&](const AdamTable& t) {
      move_rows(move_args(data, t), run);
      adam_rows(adam_args(data, t), run);
    });
  };
  EXPECT_EQ(by({}), by({Isa::amx, &three}));
}

TEST(AdamRows, RefuseOtherSizes) {
  const Data data({9, 8, 4});
  EXPECT_THROW(after(data,
                     [&](const AdamTable& t) {
                       AdamRows args = adam_args(data, t);
                       args.grad_RD.sizes[0] = 3;
                       adam_rows(args, {});
                     }),
               Error);
  EXPECT_THROW(after(data,
                     [&](AdamTable t) {
                       t.mean_ND.sizes[1] = 7;
                       move_rows(move_args(data, t), {});
                     }),
               Error);
}

}  // namespace
}  // namespace mote::kernels
