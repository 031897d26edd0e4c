// What tests of the model library share: the fill of the specs' vectors, setting parameters by
// name, comparing tensors.
#pragma once

#include <gtest/gtest.h>
#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "model/model.h"
#include "model/observer.h"
#include "model/ops/bridge.h"

namespace mote::testing {

// F(s)[i] = sin(1 + 0.37 s + 0.71 i), i the row-major flat index, in double precision.
inline Tensor fill_double(int s, std::vector<std::int64_t> shape) {
  Tensor x = torch::empty(shape, torch::kFloat64);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    x.data_ptr<double>()[i] = std::sin(1 + 0.37 * s + 0.71 * static_cast<double>(i));
  return x;
}
inline Tensor fill(int s, std::vector<std::int64_t> shape) {
  return fill_double(s, std::move(shape)).to(torch::kFloat32);
}

// Pools live as long as the test program; one per number of threads.
inline const Executor& test_executor(int threads = 2) {
  static std::map<int, std::unique_ptr<ThreadPool>> pools;
  auto& pool = pools[threads];
  if (!pool) pool = model::ops::make_thread_pool(threads);
  return *pool;
}

inline model::Pass test_pass(bool train = false, int threads = 2) {
  model::Pass pass;
  pass.run.executor = &test_executor(threads);
  pass.train = train;
  pass.seed = 5;
  return pass;
}

// Largest |a - b| at most `tolerance` * max(1, max|b|).
inline void expect_close(const Tensor& a, const Tensor& b, double tolerance,
                         const std::string& what = "") {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  if (a.numel() == 0) return;
  const Tensor x = a.detach().to(torch::kFloat64), y = b.detach().to(torch::kFloat64);
  const double scale = std::max(1.0, y.abs().max().item<double>());
  EXPECT_LE((x - y).abs().max().item<double>(), tolerance * scale) << what << "\n"
                                                                   << x << "\n"
                                                                   << y;
}

inline void expect_values(const Tensor& a, const std::vector<double>& values, double tolerance,
                          const std::string& what = "") {
  expect_close(a.reshape({-1}), torch::tensor(values, torch::kFloat64), tolerance, what);
}

// What every differentiable operation must pass. Its value is that of the naive expression in
// double, its gradients are those torch derives from that expression, and those agree with central
// differences along a direction. `inputs` are double; all are differentiated.
using Expression = std::function<Tensor(const std::vector<Tensor>&)>;
inline void check_operation(const Expression& operation, const Expression& naive,
                            const std::vector<Tensor>& inputs, double tolerance = 1e-5) {
  std::vector<Tensor> floats, doubles;
  for (const Tensor& x : inputs) {
    floats.push_back(x.to(torch::kFloat32).requires_grad_());
    doubles.push_back(x.clone().requires_grad_());
  }
  const Tensor got = operation(floats), want = naive(doubles);
  expect_close(got, want, tolerance, "value");
  const Tensor dy = fill_double(90, want.sizes().vec());
  (got * dy.to(torch::kFloat32)).sum().backward();
  (want * dy).sum().backward();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    expect_close(floats[i].grad(), doubles[i].grad(), tolerance, "gradient " + std::to_string(i));
    const Tensor direction = fill_double(20 + static_cast<int>(i), inputs[i].sizes().vec());
    const auto loss = [&](double step) {
      const torch::NoGradGuard no_grad;
      std::vector<Tensor> moved = inputs;
      moved[i] = inputs[i] + step * direction;
      return (naive(moved) * dy).sum().item<double>();
    };
    const double numeric = (loss(1e-6) - loss(-1e-6)) / 2e-6;
    const double analytic = (floats[i].grad().to(torch::kFloat64) * direction).sum().item<double>();
    EXPECT_NEAR(analytic, numeric, tolerance * std::max(1.0, std::abs(numeric))) << "input " << i;
  }
}

// Sets every tensor whose name ends with a key of `values`; each key must be used.
class Setter final : public model::ParameterVisitor {
 public:
  explicit Setter(std::map<std::string, Tensor> values) : values_(std::move(values)) {}
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    weight = model::make_dense_weight(find(p.name));
    ASSERT_EQ(weight->shape(), model::weight_shape(p))
        << p.name << " " << to_string(weight->shape()) << " " << to_string(model::weight_shape(p));
  }
  void tensor(const model::Parameter& p, Tensor& value) override {
    value = find(p.name);
    ASSERT_EQ(value.sizes(), at::IntArrayRef(p.shape)) << p.name;
  }
  bool all_used() const { return used_ == values_.size(); }

 private:
  const Tensor& find(const std::string& name) {
    for (const auto& [key, value] : values_)
      if (name.size() >= key.size() &&
          name.compare(name.size() - key.size(), key.size(), key) == 0) {
        ++used_;
        return value;
      }
    throw std::out_of_range(name);
  }
  std::map<std::string, Tensor> values_;
  std::size_t used_ = 0;
};

// Sets tables and tensors by the end of their names, and keeps the tables.
class LookupSetter final : public model::ParameterVisitor {
 public:
  explicit LookupSetter(std::map<std::string, Tensor> values) : values_(std::move(values)) {}
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    weight = model::make_dense_weight(find(p));
  }
  void tensor(const model::Parameter& p, Tensor& value) override { value = find(p); }
  void table(const model::Parameter& p, model::RowTablePtr& table) override {
    table = std::make_shared<model::RowTable>(p.name, find(p).contiguous());
    tables[p.name.substr(p.name.rfind('.') + 1)] = table;
  }
  std::map<std::string, model::RowTablePtr> tables;

 private:
  const Tensor& find(const model::Parameter& p) const {
    for (const auto& [key, value] : values_)
      if (p.name.ends_with(key)) {
        EXPECT_EQ(value.sizes(), at::IntArrayRef(p.shape)) << p.name;
        return value;
      }
    throw std::out_of_range(p.name);
  }
  const std::map<std::string, Tensor> values_;
};

// The gradient of a table with rows for all, 0 where there is none.
inline Tensor dense_gradient(model::RowTable& table) {
  const model::RowGradient g = table.take_gradient();
  Tensor all = torch::zeros_like(table.values());
  if (g.rows_N.defined()) all.index_copy_(0, g.rows_N, g.grad_ND);
  return all;
}

// A ragged assignment made by hand: every expert takes the `capacity` tokens with its largest scores,
// so that tokens have none or many rows, and the first token goes to its best expert once more.
// Gates are sigmoids of the scores, with their gradient.
inline model::ops::Assignment expert_choice(const Tensor& scores_NE, std::int64_t capacity) {
  const std::int64_t tokens = scores_NE.size(0), experts = scores_NE.size(1);
  const Tensor taken_NE = torch::zeros({tokens, experts}, torch::kInt32);
  const Tensor tokens_CE = std::get<1>(scores_NE.detach().topk(capacity, 0));
  taken_NE.scatter_(0, tokens_CE, 1);
  taken_NE[0][scores_NE[0].argmax().item<std::int64_t>()] += 1;
  std::vector<std::int32_t> first = {0}, chosen;
  std::vector<std::int64_t> flat;
  for (std::int64_t n = 0; n < tokens; ++n) {
    for (std::int64_t e = 0; e < experts; ++e)
      for (int times = taken_NE[n][e].item<int>(); times > 0; --times) {
        chosen.push_back(static_cast<std::int32_t>(e));
        flat.push_back(n * experts + e);
      }
    first.push_back(static_cast<std::int32_t>(chosen.size()));
  }
  return {experts, torch::tensor(first, torch::kInt32), torch::tensor(chosen, torch::kInt32),
          torch::sigmoid(scores_NE).view(-1).index_select(0, torch::tensor(flat, torch::kInt64))};
}

// What a bank of up and down matrices makes of an assignment, row by row.
inline Tensor naive_bank(const Tensor& x_ND, const Tensor& up_EGD, const Tensor& down_EDG,
                         const model::ops::Assignment& assignment) {
  std::vector<Tensor> rows;
  for (std::int64_t n = 0; n < x_ND.size(0); ++n) {
    Tensor y = torch::zeros({x_ND.size(1)}, x_ND.options().requires_grad(false));
    for (int r = assignment.first_N1[n].item<int>(); r < assignment.first_N1[n + 1].item<int>();
         ++r) {
      const auto e = assignment.expert_R[r].item<std::int64_t>();
      y = y + assignment.gate_R[r] * down_EDG[e].matmul(torch::relu(up_EGD[e].matmul(x_ND[n])));
    }
    rows.push_back(y);
  }
  return torch::stack(rows);
}

// Keeps the last assignment of a layer with experts.
class Assignments final : public model::Observer {
 public:
  void routed(const std::string&, const model::ops::Assignment& assignment) override {
    last = assignment;
  }
  model::ops::Assignment last;
};

// What a feed-forward layer gives for a batch of rows.
struct LayerResult {
  Tensor y_ND, penalty;
  model::ops::Assignment assignment;
};
template <class Layer>
LayerResult run_layer(const Layer& layer, const Tensor& x_ND, const model::Pass& pass) {
  Assignments observer;
  model::Pass watched = pass;
  watched.observer = &observer;
  model::ForwardState state(watched);
  LayerResult result;
  result.y_ND = layer.forward(x_ND, state);
  result.penalty = model::penalties(state);
  result.assignment = observer.last;
  return result;
}

}  // namespace mote::testing
