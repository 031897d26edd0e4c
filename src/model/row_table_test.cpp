#include "model/row_table.h"

#include "base/check.h"
#include "model/ops/table_rows.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using ops::RowPicks;
using testing::check_operation;
using testing::expect_close;
using testing::fill;
using testing::fill_double;
using testing::test_pass;
using Tensors = std::vector<Tensor>;

RowTablePtr table_of(const Tensor& values) {
  return std::make_shared<RowTable>("values", values.contiguous());
}
Tensor picks_7_2_7_0() {
  return torch::tensor({7, 2, 7, 0}, torch::kInt32).view({2, 2});
}
Tensor picked(const Tensor& table, const Tensor& index) {
  return torch::embedding(table, index.to(torch::kInt64));
}

TEST(RowTableOps, EqualTheNaiveExpressionsAndTheirGradients) {
  const Tensor index = torch::tensor({3, 0, 3, 4, 4, 4, 1, 3}, torch::kInt32).view({4, 2});
  const Tensor values = fill_double(1, {6, 5});
  const RowPicks picks(index, 6);
  check_operation(
      [&](const Tensors& f) {
        return ops::row_dots(f[0], table_of(values.to(torch::kFloat32)), picks, test_pass(true));
      },
      [&](const Tensors& d) { return (picked(values, index) * d[0].unsqueeze(1)).sum(-1); },
      {fill_double(2, {4, 5})});
  check_operation(
      [&](const Tensors& f) {
        return ops::row_sums(f[0], table_of(values.to(torch::kFloat32)), picks, test_pass(true));
      },
      [&](const Tensors& d) { return (picked(values, index) * d[0].unsqueeze(-1)).sum(1); },
      {fill_double(3, {4, 2})});
}

TEST(RowTableOps, AppendTheSumsOfGradientsOnceForEachRow) {
  const RowTablePtr table = table_of(fill(1, {10, 3}));
  const RowPicks picks(picks_7_2_7_0(), 10);
  const Tensor weight = fill(2, {2, 2}), dy = fill(3, {2, 3}), x = fill(4, {2, 3}),
               da = fill(5, {2, 2});
  const auto expect_gradient = [&](const Tensor& w, const Tensor& row) {
    const RowGradient g = table->take_gradient();
    EXPECT_TRUE(g.rows_N.equal(torch::tensor({0, 2, 7})));
    expect_close(g.grad_ND[0], w[1][1] * row[1], 1e-6);
    expect_close(g.grad_ND[1], w[0][1] * row[0], 1e-6);
    expect_close(g.grad_ND[2], w[0][0] * row[0] + w[1][0] * row[1], 1e-6);
    EXPECT_FALSE(table->take_gradient().rows_N.defined()) << "taken once";
  };
  (ops::row_sums(weight, table, picks, test_pass(true)) * dy).sum().backward();
  expect_gradient(weight, dy);
  (ops::row_dots(x, table, picks, test_pass(true)) * da).sum().backward();
  expect_gradient(da, x);
  EXPECT_FALSE(table->values().requires_grad());
}

TEST(RowTableOps, JoinTheGradientsOfSeveralUses) {
  const RowTablePtr table = table_of(fill(1, {6, 2}));
  const auto sum_of = [&](std::vector<std::int32_t> rows) {
    const Tensor index = torch::tensor(rows, torch::kInt32).view({1, -1});
    return ops::row_sums(torch::ones(index.sizes()), table, RowPicks(index, 6), test_pass(true))
        .sum();
  };
  (sum_of({1, 5}) + 2 * sum_of({5, 0})).backward();
  const RowGradient g = table->take_gradient();
  EXPECT_TRUE(g.rows_N.equal(torch::tensor({0, 1, 5})));
  expect_close(g.grad_ND, torch::tensor({2., 2., 1., 1., 3., 3.}).view({3, 2}), 0);
}

TEST(RowTableOps, AppendNothingWithoutGradients) {
  const RowTablePtr table = table_of(fill(1, {10, 3}));
  const torch::NoGradGuard no_grad;
  ops::row_dots(fill(2, {2, 3}), table, RowPicks(picks_7_2_7_0(), 10), test_pass());
  EXPECT_TRUE(table->gradients().empty());
}

TEST(RowTableOps, RefuseRowsThatTheTableLacks) {
  EXPECT_THROW(RowPicks(picks_7_2_7_0(), 7), Error);
  EXPECT_THROW(ops::row_dots(fill(2, {2, 3}), table_of(fill(1, {9, 3})),
                             RowPicks(picks_7_2_7_0(), 10), test_pass()),
               Error);
}

// Writes its rows' numbers into them.
class Counting final : public RowUpdater {
 public:
  void catch_up(RowTable& table, const Tensor& rows) override {
    table.values().index_copy_(0, rows,
                               rows.to(torch::kFloat32).unsqueeze(1).expand({rows.size(0), 2}));
    asked.push_back(rows);
  }
  std::vector<Tensor> asked;
};

TEST(RowTableOps, LetTheUpdaterCatchUpBeforeTheyRead) {
  const RowTablePtr table = table_of(torch::zeros({6, 2}));
  Counting updater;
  table->set_updater(&updater);
  const Tensor index = torch::tensor({4, 4, 2}, torch::kInt32).view({3, 1});
  const Tensor rows =
      ops::row_sums(torch::ones({3, 1}), table, RowPicks(index, 6), test_pass(true));
  ASSERT_EQ(updater.asked.size(), 1u);
  EXPECT_TRUE(updater.asked[0].equal(torch::tensor({2, 4}))) << "each once, rising";
  expect_close(rows, torch::tensor({4., 4., 4., 4., 2., 2.}).view({3, 2}), 0);
}

}  // namespace
}  // namespace mote::model
