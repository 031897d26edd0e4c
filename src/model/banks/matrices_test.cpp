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

// Experts of three matrices with biases, limits and an offset as gpt-oss has them, of two with another
// activation, with a tensor for all experts or one for each.
struct Unit {
  checkpoint::NeuronActivation activation;
  bool gated, bias;
  checkpoint::UnitConfig unit;
};

checkpoint::Mixture mixture_of(const Unit& unit) {
  checkpoint::Mixture config{kExperts, kWidth, {1, 0, 0}};
  config.activation = unit.activation;
  config.gated = unit.gated;
  config.bias = unit.bias;
  config.unit = unit.unit;
  return config;
}

// x, scores, then gate, up, down and their biases.
Tensors gated_inputs() {
  return {fill_double(1, {kTokens, kDim}),          fill_double(4, {kTokens, kExperts}),
          fill_double(5, {kExperts, kWidth, kDim}), fill_double(2, {kExperts, kWidth, kDim}),
          fill_double(3, {kExperts, kDim, kWidth}), fill_double(6, {kExperts, kWidth}),
          fill_double(7, {kExperts, kWidth}),       fill_double(8, {kExperts, kDim})};
}

MatrixBank gated_bank(const Unit& unit, const Tensors& t) {
  MatrixBank bank(mixture_of(unit), {0, 1, kDim, 1});
  std::map<std::string, Tensor> values = {{"experts.up", t[3]}, {"experts.down", t[4]}};
  if (unit.gated) values["experts.gate"] = t[2];
  if (unit.bias) values["experts.up.bias"] = t[6], values["experts.down.bias"] = t[7];
  if (unit.bias && unit.gated) values["experts.gate.bias"] = t[5];
  testing::Setter setter(values);
  bank.visit("experts", setter);
  EXPECT_TRUE(setter.all_used());
  return bank;
}

Tensor naive_gated_bank(const Unit& unit, const Tensors& t) {
  const ops::Assignment assignment = expert_choice(t[1], kCapacity);
  const auto product = [&](const Tensor& w, const Tensor& b, const Tensor& x, std::int64_t e) {
    return unit.bias ? w[e].matmul(x) + b[e] : w[e].matmul(x);
  };
  std::vector<Tensor> rows;
  for (std::int64_t n = 0; n < kTokens; ++n) {
    Tensor y = torch::zeros({kDim}, torch::kFloat64);
    for (int r = assignment.first_N1[n].item<int>(); r < assignment.first_N1[n + 1].item<int>();
         ++r) {
      const auto e = assignment.expert_R[r].item<std::int64_t>();
      Tensor u = product(t[3], t[6], t[0][n], e),
             g = unit.gated ? product(t[2], t[5], t[0][n], e) : u;
      if (unit.unit.limit > 0) {
        g = g.clamp_max(unit.unit.limit);
        u = u.clamp(-unit.unit.limit, unit.unit.limit);
      }
      Tensor h = unit.activation == checkpoint::NeuronActivation::silu
                     ? g * torch::sigmoid(unit.unit.alpha * g)
                     : torch::gelu(g);
      if (unit.gated) h = h * (u + unit.unit.up_offset);
      y = y + assignment.gate_R[r] * product(t[4], t[7], h, e);
    }
    rows.push_back(y);
  }
  return torch::stack(rows);
}

TEST(MatrixBank, HasGatedExpertsWithBiasesAndLimits) {
  using checkpoint::NeuronActivation;
  for (const Unit& unit : {Unit{NeuronActivation::silu, true, false, {}},
                           Unit{NeuronActivation::silu, true, true, {1.702, 0.9, 1}},
                           Unit{NeuronActivation::gelu, false, true, {}},
                           Unit{NeuronActivation::gelu, true, false, {}}}) {
    Tensors used = gated_inputs();
    const auto unused = [&](std::size_t i) {
      return (i == 2 && !unit.gated) || (i == 5 && !(unit.gated && unit.bias)) ||
             (i > 5 && !unit.bias);
    };
    // What is not used has no gradient to compare.
    const auto whole = [&](const Tensors& t) {
      Tensors all;
      for (std::size_t i = 0, next = 0; i < 8; ++i) all.push_back(unused(i) ? Tensor() : t[next++]);
      return all;
    };
    Tensors inputs;
    for (std::size_t i = 0; i < 8; ++i)
      if (!unused(i)) inputs.push_back(used[i]);
    check_operation(
        [&](const Tensors& f) {
          const Tensors t = whole(f);
          return gated_bank(unit, t).forward(t[0], expert_choice(t[1], kCapacity), test_pass(true));
        },
        [&](const Tensors& d) { return naive_gated_bank(unit, whole(d)); }, inputs);
  }
}

TEST(MatrixBank, MultipliesMatricesThatLieApartAsAStack) {
  const Unit unit{checkpoint::NeuronActivation::silu, true, false, {}};
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    Tensors t = gated_inputs();
    for (Tensor& x : t) x = x.to(torch::kFloat32);
    for (std::size_t i = 2; i < 5; ++i) t[i] = t[i].to(type);
    class Splitter final : public ParameterVisitor {
     public:
      void matrix(const Parameter& p, WeightPtr& weight) override {
        std::vector<Tensor> matrices;
        for (const Tensor& m : weight->stored().unbind()) matrices.push_back(m.clone());
        weight = make_stack_of(std::move(matrices));
        EXPECT_EQ(weight->shape(), weight_shape(p));
      }
      void tensor(const Parameter&, Tensor&) override {}
    } splitter;
    MatrixBank whole = gated_bank(unit, t), apart = gated_bank(unit, t);
    apart.visit("experts", splitter);
    const auto run = [&](const MatrixBank& bank) {
      const Tensor x = t[0].clone().requires_grad_();
      const Tensor y = bank.forward(x, expert_choice(t[1], kCapacity), test_pass(true));
      y.sum().backward();
      return std::pair{y, x.grad()};
    };
    const auto [y, dx] = run(whole);
    const auto [z, dz] = run(apart);
    EXPECT_TRUE(y.equal(z)) << type;
    EXPECT_TRUE(dx.equal(dz)) << type;
  }
}

// Without gradients products are fused, unless somebody watches.
TEST(MatrixBank, GivesTheSameBitsInOneGoAsByProducts) {
  using checkpoint::NeuronActivation;
  class Splitter final : public ParameterVisitor {
   public:
    void matrix(const Parameter&, WeightPtr& weight) override {
      std::vector<Tensor> matrices;
      for (const Tensor& m : weight->stored().unbind()) matrices.push_back(m);
      matrices.back() = torch::cat({matrices.back(), matrices.back()}, 1)
                            .narrow(1, 0, matrices.back().size(1));  // rows further apart
      weight = make_stack_of(std::move(matrices));
    }
    void tensor(const Parameter&, Tensor&) override {}
  } splitter;
  const torch::NoGradGuard no_grad;
  for (const Unit& unit : {Unit{NeuronActivation::silu, true, false, {}},
                           Unit{NeuronActivation::silu, true, false, {1.702, 0.9, 1}},
                           Unit{NeuronActivation::gelu, true, false, {}},
                           Unit{NeuronActivation::gelu, false, false, {}},
                           Unit{NeuronActivation::relu, false, false, {}}})
    for (const auto type : {torch::kFloat32, torch::kBFloat16, torch::kFloat16})
      for (const bool apart : {false, true})
        for (const auto precision : {kernels::Precision::f32, kernels::Precision::bf16}) {
          Tensors t = gated_inputs();
          for (Tensor& x : t) x = x.to(torch::kFloat32);
          for (std::size_t i = 2; i < 5; ++i) t[i] = t[i].to(type);
          MatrixBank bank = gated_bank(unit, t);
          if (apart) bank.visit("experts", splitter);
          const auto y = [&](Observer* observer) {
            Pass pass = test_pass();
            pass.precision = precision;
            pass.observer = observer;
            return bank.forward(t[0], expert_choice(t[1], kCapacity), pass);
          };
          Everything observer;
          EXPECT_TRUE(y(nullptr).equal(y(&observer))) << type << apart;
        }
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
