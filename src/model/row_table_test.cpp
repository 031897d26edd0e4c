#include "model/row_table.h"

#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::expect_close;
using testing::fill;

TEST(RowTable, GathersAndAppendsTheSumsOfGradientsOnceForEachRow) {
  RowTable table("values", fill(1, {10, 3}));
  const Tensor index = torch::tensor({7, 2, 7, 0}).view({2, 2});
  const Tensor rows = table.gather(index), dy = fill(2, {2, 2, 3});
  expect_close(rows[1][0], table.values()[7], 0);
  (rows * dy).sum().backward();
  const RowGradient g = table.take_gradient();
  EXPECT_TRUE(g.rows_N.equal(torch::tensor({0, 2, 7})));
  expect_close(g.grad_ND[0], dy[1][1], 0);
  expect_close(g.grad_ND[1], dy[0][1], 0);
  expect_close(g.grad_ND[2], dy[0][0] + dy[1][0], 1e-6);
  EXPECT_FALSE(table.take_gradient().rows_N.defined()) << "taken once";
  EXPECT_FALSE(table.values().requires_grad());
}

TEST(RowTable, JoinsTheGradientsOfSeveralUses) {
  RowTable table("values", fill(1, {6, 2}));
  const Tensor a = table.gather(torch::tensor({1, 5})), b = table.gather(torch::tensor({5, 0}));
  (a.sum() + 2 * b.sum()).backward();
  const RowGradient g = table.take_gradient();
  EXPECT_TRUE(g.rows_N.equal(torch::tensor({0, 1, 5})));
  expect_close(g.grad_ND, torch::tensor({2., 2., 1., 1., 3., 3.}).view({3, 2}), 0);
}

TEST(RowTable, AppendsNothingWithoutGradients) {
  RowTable table("values", fill(1, {6, 2}));
  const torch::NoGradGuard no_grad;
  table.gather(torch::tensor({1}));
  EXPECT_TRUE(table.gradients().empty());
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

TEST(RowTable, LetsTheUpdaterCatchUpBeforeItGathers) {
  RowTable table("values", torch::zeros({6, 2}));
  Counting updater;
  table.set_updater(&updater);
  const Tensor rows = table.gather(torch::tensor({4, 4, 2}));
  ASSERT_EQ(updater.asked.size(), 1u);
  EXPECT_TRUE(updater.asked[0].equal(torch::tensor({2, 4}))) << "each once, rising";
  expect_close(rows, torch::tensor({4., 4., 4., 4., 2., 2.}).view({3, 2}), 0);
}

}  // namespace
}  // namespace mote::model
