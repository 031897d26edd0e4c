#include "model/layers/attention.h"

#include "model/ops/attention.h"
#include "tests/support/models.h"

namespace mote::model {
namespace {

using testing::expect_close;
using testing::expect_values;
using testing::fill;
using testing::fill_double;
using testing::Setter;
using testing::test_pass;

TEST(PositionTable, VectorH) {
  expect_values(position_table(2, 4)[0], {-.841471, .540302, -.010000, .999950}, 1e-6);
}

TEST(Attention, KeysAndValuesStartAsTheRowsOfOneMatrix) {
  SelfAttention attention(checkpoint::TransformerXl{3, 2}, {0, 1, 4, 8});
  class Recorder final : public ParameterVisitor {
   public:
    std::map<std::string, Tensor> values;
    void matrix(const Parameter& p, WeightPtr&) override {
      values[p.name] = initial_values(p.shape, p.init, p.name, 1);
    }
    void tensor(const Parameter&, Tensor&) override {}
  } recorder;
  attention.visit("a", recorder);
  const Tensor whole =
      initial_values({12, 4}, {Init::Kind::exact_normal, std::sqrt(0.5)}, "a.kv.weight", 1);
  for (std::int64_t head = 0; head < 3; ++head) {
    EXPECT_TRUE(recorder.values.at("a.k.weight")
                    .narrow(0, 2 * head, 2)
                    .equal(whole.narrow(0, 4 * head, 2)));
    EXPECT_TRUE(recorder.values.at("a.v.weight")
                    .narrow(0, 2 * head, 2)
                    .equal(whole.narrow(0, 4 * head + 2, 2)));
  }
}

TEST(Attention, VectorH_OutputMatches) {
  SelfAttention attention(checkpoint::TransformerXl{1, 2}, {0, 1, 4, 8});
  const Tensor kv = fill(13, {4, 4});  // rows of keys, then of values
  Setter setter({{"q.weight", fill(12, {2, 4})},
                 {"k.weight", kv.narrow(0, 0, 2)},
                 {"v.weight", kv.narrow(0, 2, 2)},
                 {"position.weight", fill(14, {2, 4})},
                 {"out.weight", fill(15, {4, 2})},
                 {"content_bias", torch::tensor({{.1f, -.2f}})},
                 {"position_bias", torch::tensor({{.3f, .05f}})},
                 {"scale", torch::full({1}, 1 / std::sqrt(2.0), torch::kFloat32)}});
  attention.visit("attention", setter);
  ASSERT_TRUE(setter.all_used());
  const Tensor h = torch::cat({fill(11, {3, 4}), fill(10, {2, 4})}).unsqueeze(0);
  const Tensor out = attention.forward(h, 2, test_pass());
  expect_values(out[0][0], {-1.055346, .335735, 1.156218, .011652}, 2e-6);
  expect_values(out[0][1], {.865166, -.262326, -.943982, -.021295}, 2e-6);
}

// The formula in double: every query sees every key up to its own position.
Tensor naive_attention(const Tensor& q_BTHC, const Tensor& k_BSHC, const Tensor& v_BSHC,
                       const Tensor& r_DHC, const Tensor& u_HC, const Tensor& w_HC,
                       const Tensor& scale) {
  const std::int64_t queries = q_BTHC.size(1), keys = k_BSHC.size(1),
                     distances = r_DHC.defined() ? r_DHC.size(0) : 0;
  Tensor logits_BHTS =
      torch::einsum("bthc,bshc->bhts", {u_HC.defined() ? q_BTHC + u_HC : q_BTHC, k_BSHC});
  if (r_DHC.defined()) {
    const Tensor position_BHTD = torch::einsum("bthc,dhc->bhtd", {q_BTHC + w_HC, r_DHC});
    std::vector<Tensor> columns;
    for (std::int64_t s = 0; s < keys; ++s) {
      std::vector<Tensor> rows;
      for (std::int64_t t = 0; t < queries; ++t) {
        const std::int64_t distance = std::max<std::int64_t>(0, keys - queries + t - s);
        rows.push_back(position_BHTD.select(2, t).select(2, distances - 1 - distance));
      }
      columns.push_back(torch::stack(rows, 2));
    }
    logits_BHTS = logits_BHTS + torch::stack(columns, 3);
  }
  const Tensor mask = torch::ones({queries, keys}, torch::kBool).triu(keys - queries + 1);
  const Tensor p = torch::softmax((scale * logits_BHTS).masked_fill(mask, -INFINITY), -1);
  return torch::einsum("bhts,bshc->bthc", {p, v_BSHC});
}

// The operation for q, k, v, scale, r, u, w with heads apart.
Tensor attended(const std::vector<Tensor>& f, const kernels::AttentionSight& sight) {
  return ops::attention(f[0].flatten(2), f[1].flatten(2), f[2].flatten(2), f[0].size(2),
                        f[1].size(1), {f[4], f[5], f[6]}, f[3], sight, test_pass())
      .view(f[0].sizes());
}

TEST(Attention, ForwardAndGradientsEqualTheNaiveExpression) {
  struct Case {
    std::int64_t batch, queries, keys, heads, width;
    bool relative;
  };
  for (const Case& c : {Case{2, 5, 9, 2, 3, true}, Case{1, 70, 130, 1, 8, true},
                        Case{1, 1, 4, 3, 17, true}, Case{2, 67, 67, 2, 5, false}}) {
    const auto leaf = [](int s, std::vector<std::int64_t> shape) {
      return fill_double(s, shape).requires_grad_();
    };
    std::vector<Tensor> x = {leaf(1, {c.batch, c.queries, c.heads, c.width}),
                             leaf(2, {c.batch, c.keys, c.heads, c.width}),
                             leaf(3, {c.batch, c.keys, c.heads, c.width}),
                             torch::full({1}, 0.4, torch::kFloat64).requires_grad_()};
    if (c.relative)
      for (const Tensor& t : {leaf(4, {c.keys, c.heads, c.width}), leaf(5, {c.heads, c.width}),
                              leaf(6, {c.heads, c.width})})
        x.push_back(t);
    else
      x.resize(7);
    const Tensor dy = fill_double(9, x[0].sizes().vec());
    const Tensor want = naive_attention(x[0], x[1], x[2], x[4], x[5], x[6], x[3]);
    (want * dy).sum().backward();
    std::vector<Tensor> f;
    for (const Tensor& t : x)
      f.push_back(t.defined() ? t.detach().to(torch::kFloat32).requires_grad_() : t);
    kernels::AttentionSight sight;
    sight.first_query = c.keys - c.queries;
    const Tensor got = attended(f, sight);
    (got * dy.to(torch::kFloat32)).sum().backward();
    expect_close(got, want, 1e-5, "o");
    for (std::size_t i = 0; i < x.size(); ++i)
      if (x[i].defined())
        expect_close(f[i].grad(), x[i].grad(), 2e-5, "input " + std::to_string(i));
  }
}

TEST(Attention, GradientsEqualFiniteDifferences) {
  testing::check_operation(
      [](const std::vector<Tensor>& f) {
        kernels::AttentionSight sight;
        sight.first_query = 2;
        return attended(f, sight);
      },
      [](const std::vector<Tensor>& d) {
        return naive_attention(d[0], d[1], d[2], d[4], d[5], d[6], d[3]);
      },
      {fill_double(1, {1, 3, 2, 2}), fill_double(2, {1, 5, 2, 2}), fill_double(3, {1, 5, 2, 2}),
       torch::full({1}, 0.7, torch::kFloat64), fill_double(4, {5, 2, 2}), fill_double(5, {2, 2}),
       fill_double(6, {2, 2})});
}

}  // namespace
}  // namespace mote::model
