// A bank takes any assignment: here ragged ones that are made by hand.
#include "model/banks/matrices.h"

#include "base/check.h"
#include "model/ops/experts.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::check_operation;
using testing::expect_close;
using testing::expert_choice;
using testing::fill_double;
using testing::naive_bank;
using testing::test_pass;
using Tensors = std::vector<Tensor>;

constexpr std::int64_t kTokens = 13, kDim = 10, kExperts = 5, kWidth = 7, kCapacity = 4;

MatrixBank bank_of(const Tensor& up, const Tensor& down) {
  MatrixBank bank({kExperts, kWidth, {1, 0, 0}}, {0, 1, kDim, 1});
  testing::Setter setter({{"experts.up", up}, {"experts.down", down}});
  bank.visit("experts", setter);
  return bank;
}

// Wants all rows, so that the bank goes by single products.
class Everything final : public Observer {
 public:
  bool wants(const std::string&) const override { return true; }
};

Tensors inputs() {
  return {fill_double(1, {kTokens, kDim}), fill_double(2, {kExperts, kWidth, kDim}),
          fill_double(3, {kExperts, kDim, kWidth}), fill_double(4, {kTokens, kExperts})};
}

TEST(MatrixBank, GivesARaggedAssignmentsValueAndGradients) {
  Everything observer;
  for (Observer* watching : {static_cast<Observer*>(nullptr), static_cast<Observer*>(&observer)})
    check_operation(
        [&](const Tensors& f) {
          Pass pass = test_pass(true);
          pass.observer = watching;
          return bank_of(f[1], f[2]).forward(f[0], expert_choice(f[3], kCapacity), pass);
        },
        [](const Tensors& d) {
          return naive_bank(d[0], d[1], d[2], expert_choice(d[3], kCapacity));
        },
        inputs());
}

TEST(MatrixBank, TakesTokensWithNoneOneAndManyRows) {
  const ops::Assignment assignment = expert_choice(inputs()[3], kCapacity);
  const Tensor rows_N = assignment.first_N1.diff();
  EXPECT_EQ(rows_N.min().item<int>(), 0);
  EXPECT_GE(rows_N.max().item<int>(), 2);
  EXPECT_TRUE(rows_N.eq(1).any().item<bool>());
}

TEST(MatrixBank, GivesStoredTypesTheSameWithARaggedAssignment) {
  const Tensors d = inputs();
  for (const auto type : {torch::kBFloat16, torch::kFloat16}) {
    const Tensor up = d[1].to(type), down = d[2].to(type);
    const Tensor x = d[0].to(torch::kFloat32).requires_grad_(),
                 scores = d[3].to(torch::kFloat32).requires_grad_(),
                 xd = d[0].clone().requires_grad_(), sd = d[3].clone().requires_grad_();
    const Tensor dy = fill_double(9, {kTokens, kDim});
    const Tensor y =
        bank_of(up, down).forward(x, expert_choice(scores, kCapacity), test_pass(true));
    const Tensor want = naive_bank(xd, up.to(torch::kFloat64), down.to(torch::kFloat64),
                                   expert_choice(sd, kCapacity));
    expect_close(y, want, 1e-5, "y");
    (y * dy.to(torch::kFloat32)).sum().backward();
    (want * dy).sum().backward();
    expect_close(x.grad(), xd.grad(), 1e-5, "dx");
    expect_close(scores.grad(), sd.grad(), 1e-5, "dscores");
  }
}

TEST(MatrixBank, GivesTokensWithoutRowsZeroOutputAndGradient) {
  const Tensors d = inputs();
  const Tensor x = d[0].to(torch::kFloat32).requires_grad_();
  const MatrixBank bank =
      bank_of(d[1].to(torch::kFloat32).requires_grad_(), d[2].to(torch::kFloat32).requires_grad_());
  const auto zero_rows = [](const Tensor& t) { return t.eq(0).all(1); };
  const ops::Assignment some = expert_choice(d[3].to(torch::kFloat32), kCapacity);
  const Tensor y = bank.forward(x, some, test_pass(true));
  y.sum().backward();
  const Tensor none_N = some.first_N1.diff().eq(0);
  EXPECT_TRUE(zero_rows(y).equal(none_N));
  EXPECT_TRUE(zero_rows(x.grad()).equal(none_N));

  const ops::Assignment dropped{kExperts, ops::equal_rows(kTokens, 0, test_pass()),
                                torch::empty({0}, torch::kInt32), torch::empty({0})};
  EXPECT_TRUE(zero_rows(bank.forward(x, dropped, test_pass(true))).all().item<bool>());
  const ops::Assignment nobody{kExperts, ops::equal_rows(0, 2, test_pass()),
                               torch::empty({0}, torch::kInt32), torch::empty({0})};
  EXPECT_EQ(bank.forward(torch::empty({0, kDim}), nobody, test_pass()).sizes(),
            at::IntArrayRef({0, kDim}));
}

TEST(MatrixBank, RefusesAnAssignmentThatDisagrees) {
  const Tensors d = inputs();
  const Tensor x = d[0].to(torch::kFloat32);
  const MatrixBank bank = bank_of(d[1].to(torch::kFloat32), d[2].to(torch::kFloat32));
  const ops::Assignment good = expert_choice(d[3].to(torch::kFloat32), kCapacity);
  const auto refusal = [&](const ops::Assignment& assignment, const Pass& pass) -> std::string {
    try {
      bank.forward(x, assignment, pass);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  Pass watched = test_pass();
  Everything observer;
  watched.observer = &observer;
  for (const Pass& pass : {test_pass(), watched}) {
    EXPECT_EQ(refusal(good, pass), "accepted");
    ops::Assignment bad = good;
    bad.gate_R = good.gate_R.narrow(0, 0, 20);
    EXPECT_NE(refusal(bad, pass).find("21 rows have experts, gates are [20]"), std::string::npos)
        << refusal(bad, pass);
    bad = good;
    bad.expert_R = torch::full({21}, 5, torch::kInt32);
    EXPECT_NE(refusal(bad, pass).find("expert 5 of 5"), std::string::npos) << refusal(bad, pass);
    bad = {kExperts, ops::equal_rows(7, 3, test_pass()), good.expert_R, good.gate_R};
    EXPECT_NE(refusal(bad, pass).find("x has 13 rows, routes"), std::string::npos)
        << refusal(bad, pass);
  }
  EXPECT_THROW(ops::equal_rows(std::int64_t{1} << 30, 2, test_pass()), Error);
}

}  // namespace
}  // namespace mote::model
