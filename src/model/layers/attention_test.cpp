#include "model/layers/attention.h"

#include "model/layers/latent_attention.h"
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
  SelfAttention attention(checkpoint::TransformerXl{3, 2}, {}, {0, 1, 4, 8});
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
  SelfAttention attention(checkpoint::TransformerXl{1, 2}, {}, {0, 1, 4, 8});
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
  const Pass pass = test_pass();
  const Tensor out = attention.forward(h, 2, ForwardState(pass));
  expect_values(out[0][0], {-1.055346, .335735, 1.156218, .011652}, 2e-6);
  expect_values(out[0][1], {.865166, -.262326, -.943982, -.021295}, 2e-6);
}

// How far the keys are behind the queries, of which the last stands beside the last key: [T, S].
Tensor distances(std::int64_t queries, std::int64_t keys) {
  return torch::arange(keys - queries, keys).unsqueeze(1) - torch::arange(keys).unsqueeze(0);
}

// The formula in double. Every query sees every key up to its own position, or all with `ahead`.
Tensor naive_attention(const Tensor& q_BTHC, const Tensor& k_BSGC, const Tensor& v_BSGE,
                       const ops::AttentionTerms& terms, const Tensor& scale, bool ahead = false) {
  const std::int64_t queries = q_BTHC.size(1), keys = k_BSGC.size(1),
                     shared = q_BTHC.size(2) / k_BSGC.size(2);
  const Tensor k_BSHC = k_BSGC.repeat_interleave(shared, 2),
               v_BSHE = v_BSGE.repeat_interleave(shared, 2);
  const Tensor distance_TS = distances(queries, keys);
  const auto with = [&](const Tensor& add) { return add.defined() ? q_BTHC + add : q_BTHC; };
  Tensor score_BHTS = torch::einsum("bthc,bshc->bhts", {with(terms.u_HC), k_BSHC});
  if (terms.r_DHC.defined()) {
    const Tensor row_TS = terms.r_DHC.size(0) - 1 - distance_TS.clamp_min(0);
    const Tensor r_TSHC = terms.r_DHC.index_select(0, row_TS.reshape({-1}))
                              .view({queries, keys, terms.r_DHC.size(1), terms.r_DHC.size(2)});
    score_BHTS = score_BHTS + torch::einsum("bthc,tshc->bhts", {with(terms.w_HC), r_TSHC});
  }
  Tensor logit_BHTS = scale * score_BHTS;
  if (terms.bias_HD.defined()) {
    const Tensor column_TS =
        (terms.bias_farthest - distance_TS).clamp(0, terms.bias_HD.size(1) - 1);
    logit_BHTS =
        logit_BHTS +
        terms.bias_HD.index_select(1, column_TS.reshape({-1})).view({1, -1, queries, keys});
  }
  Tensor hidden = ahead ? torch::zeros({1, 1, queries, keys}, torch::kBool)
                        : (distance_TS < 0).view({1, 1, queries, keys});
  if (terms.lengths_B.defined())
    hidden = hidden | (torch::arange(keys) >= terms.lengths_B.unsqueeze(1)).view({-1, 1, 1, keys});
  logit_BHTS = logit_BHTS.masked_fill(hidden, -INFINITY);
  if (terms.sink_H.defined()) {
    const Tensor sink_BHT1 = terms.sink_H.view({1, -1, 1, 1})
                                 .expand({logit_BHTS.size(0), logit_BHTS.size(1), queries, 1});
    logit_BHTS = torch::cat({logit_BHTS, sink_BHT1}, 3);
  }
  const Tensor p = torch::softmax(logit_BHTS, -1).narrow(3, 0, keys);
  return torch::einsum("bhts,bshe->bthe", {p, v_BSHE});
}

// Shapes of the operation's inputs, and which of its terms there are.
struct AttentionCase {
  std::int64_t batch, queries, keys, heads, groups, width, value_width;
  bool relative = false, bias = false, sink = false, lengths = false, ahead = false;

  // q, k, v, scale, then the terms.
  std::vector<Tensor> inputs() const {
    std::vector<Tensor> x = {fill_double(1, {batch, queries, heads, width}),
                             fill_double(2, {batch, keys, groups, width}),
                             fill_double(3, {batch, keys, groups, value_width}),
                             torch::full({1}, 0.4, torch::kFloat64)};
    if (relative)
      for (const Tensor& each : {fill_double(4, {keys, heads, width}),
                                 fill_double(5, {heads, width}), fill_double(6, {heads, width})})
        x.push_back(each);
    if (bias) x.push_back(fill_double(7, {heads, 5}));
    if (sink) x.push_back(fill_double(8, {heads}));
    return x;
  }
  ops::AttentionTerms terms(const std::vector<Tensor>& x) const {
    ops::AttentionTerms t;
    std::size_t next = 4;
    if (relative) t.r_DHC = x[4], t.u_HC = x[5], t.w_HC = x[6], next = 7;
    if (bias) t.bias_HD = x[next++], t.bias_farthest = 2;
    if (sink) t.sink_H = x[next];
    if (lengths) t.lengths_B = torch::arange(keys - batch + 1, keys + 1, torch::kInt32);
    return t;
  }
  Tensor operation(const std::vector<Tensor>& x) const {
    kernels::AttentionSight sight;
    sight.first_query = keys - queries;
    sight.ahead = ahead;
    return ops::attention(x[0].flatten(2), x[1].flatten(2), x[2].flatten(2), {heads, groups, keys},
                          terms(x), x[3], sight, test_pass())
        .view({batch, queries, heads, value_width});
  }
  Tensor naive(const std::vector<Tensor>& x) const {
    return naive_attention(x[0], x[1], x[2], terms(x), x[3], ahead);
  }
};

// Against the naive expression, torch's gradients of that, and finite differences of it.
TEST(Attention, OperationEqualsTheNaiveExpression) {
  for (const AttentionCase& c :
       {AttentionCase{2, 5, 9, 2, 2, 3, 3, true}, AttentionCase{1, 70, 130, 1, 1, 8, 8, true},
        AttentionCase{1, 1, 4, 3, 3, 17, 17, true}, AttentionCase{2, 67, 67, 2, 2, 5, 5},
        AttentionCase{2, 4, 6, 4, 2, 3, 5, false, true},
        AttentionCase{2, 4, 6, 4, 1, 3, 2, false, false, true},
        AttentionCase{3, 5, 5, 2, 1, 4, 4, false, true, false, true, true},
        AttentionCase{2, 3, 7, 4, 2, 3, 5, true, true, true, true}})
    testing::check_operation([&](const std::vector<Tensor>& x) { return c.operation(x); },
                             [&](const std::vector<Tensor>& x) { return c.naive(x); }, c.inputs(),
                             2e-5);
}

TEST(Attention, TakesInputsWithAnyStrides) {
  const AttentionCase c{2, 4, 6, 4, 2, 3, 5, true, true, true};
  std::vector<Tensor> x, turned;
  for (const Tensor& each : c.inputs()) {
    x.push_back(each.dim() == 4 ? each.flatten(2).to(torch::kFloat32) : each.to(torch::kFloat32));
    std::vector<std::int64_t> axes(static_cast<std::size_t>(x.back().dim()));
    for (std::size_t i = 0; i < axes.size(); ++i)
      axes[i] = static_cast<std::int64_t>(axes.size() - 1 - i);
    turned.push_back(x.back().permute(axes).contiguous().permute(axes));
  }
  EXPECT_TRUE(c.operation(x).equal(c.operation(turned)));
}

// specs/checkpoints 3, in plain expressions. [heads (plain + rope), d], ...
struct LatentCase {
  checkpoint::Latent config;
  std::vector<std::pair<std::string, Tensor>> weights;

  Tensor of(const std::vector<Tensor>& w, const std::string& name) const {
    for (std::size_t i = 0; i < weights.size(); ++i)
      if (weights[i].first == name) return w[i + 1];
    throw std::out_of_range(name);
  }
};

constexpr std::int64_t kLatentDim = 6;

LatentCase latent_case(std::int64_t q_rank) {
  LatentCase c;
  c.config.heads = 3, c.config.q_rank = q_rank, c.config.kv_rank = 5, c.config.head_dim = 6,
  c.config.rope_dim = 4, c.config.value_dim = 3,
  c.config.rotary.pairs = checkpoint::RotaryPairs::adjacent;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    c.weights.emplace_back(name,
                           fill_double(static_cast<int>(c.weights.size()) + 3, std::move(shape)));
  };
  if (q_rank > 0) {
    add("q_down.weight", {q_rank, kLatentDim});
    add("q_norm.weight", {q_rank});
    add("q_up.weight", {18, q_rank});
  } else {
    add("q.weight", {18, kLatentDim});
  }
  add("kv_down.weight", {9, kLatentDim});
  add("kv_norm.weight", {5});
  add("kv_up.weight", {15, 5});
  add("out.weight", {kLatentDim, 9});
  return c;
}

Tensor naive_rms(const Tensor& x, const Tensor& w) {
  return x / (x.square().mean(-1, true) + 1e-6).sqrt() * w;
}

// Columns 2 m and 2 m + 1 of [B, T, ..., 4], turned by the position.
Tensor naive_turned(const Tensor& x) {
  std::vector<Tensor> positions;
  for (std::int64_t t = 0; t < x.size(1); ++t) {
    std::vector<Tensor> columns;
    for (std::int64_t m = 0; m < 2; ++m) {
      const double angle =
          static_cast<double>(t) * std::pow(10000.0, -0.5 * static_cast<double>(m));
      const Tensor a = x.select(1, t).select(-1, 2 * m), b = x.select(1, t).select(-1, 2 * m + 1);
      columns.push_back(a * std::cos(angle) - b * std::sin(angle));
      columns.push_back(a * std::sin(angle) + b * std::cos(angle));
    }
    positions.push_back(torch::stack(columns, -1));
  }
  return torch::stack(positions, 1);
}

Tensor naive_latent(const LatentCase& c, const std::vector<Tensor>& w) {
  const Tensor& x = w[0];
  const std::int64_t batch = x.size(0), tokens = x.size(1);
  const Tensor q = (c.config.q_rank > 0 ? naive_rms(x.matmul(c.of(w, "q_down.weight").t()),
                                                    c.of(w, "q_norm.weight"))
                                              .matmul(c.of(w, "q_up.weight").t())
                                        : x.matmul(c.of(w, "q.weight").t()))
                       .view({batch, tokens, 3, 6});
  const Tensor down = x.matmul(c.of(w, "kv_down.weight").t());
  const Tensor up = naive_rms(down.narrow(2, 0, 5), c.of(w, "kv_norm.weight"))
                        .matmul(c.of(w, "kv_up.weight").t())
                        .view({batch, tokens, 3, 5});
  const Tensor shared =
      naive_turned(down.narrow(2, 5, 4)).unsqueeze(2).expand({batch, tokens, 3, 4});
  const Tensor key = torch::cat({up.narrow(3, 0, 2), shared}, 3),
               query = torch::cat({q.narrow(3, 0, 2), naive_turned(q.narrow(3, 2, 4))}, 3);
  const Tensor score = torch::einsum("bthc,bshc->bhts", {query, key}) / std::sqrt(6.0);
  const Tensor hidden = torch::ones({tokens, tokens}, torch::kBool).triu(1);
  const Tensor p =
      torch::softmax(score.masked_fill(hidden, -std::numeric_limits<double>::infinity()), -1);
  return torch::einsum("bhts,bshc->bthc", {p, up.narrow(3, 2, 3)})
      .reshape({batch, tokens, 9})
      .matmul(c.of(w, "out.weight").t());
}

LatentAttention latent_attention(const LatentCase& c, const std::vector<Tensor>& w) {
  LatentAttention attention(c.config, {0, 1, kLatentDim, 8});
  std::map<std::string, Tensor> values;
  for (const auto& [name, value] : c.weights) values["a." + name] = c.of(w, name);
  Setter setter(values);
  attention.visit("a", setter);
  EXPECT_TRUE(setter.all_used());
  return attention;
}

TEST(LatentAttention, EqualsTheNaiveExpressionAndItsGradients) {
  for (const std::int64_t q_rank : {0, 7}) {
    const LatentCase c = latent_case(q_rank);
    std::vector<Tensor> inputs = {fill_double(1, {2, 5, kLatentDim})};
    for (const auto& [name, value] : c.weights) inputs.push_back(value);
    testing::check_operation(
        [&](const std::vector<Tensor>& f) {
          const Pass pass = test_pass(true);
          return latent_attention(c, f).forward(f[0], 5, ForwardState(pass));
        },
        [&](const std::vector<Tensor>& d) { return naive_latent(c, d); }, inputs);
  }
}

TEST(LatentAttention, GivesTheSameWithACacheForAnyNumberOfTokensAtATime) {
  const LatentCase c = latent_case(7);
  std::vector<Tensor> w = {fill(1, {2, 7, kLatentDim})};
  for (const auto& [name, value] : c.weights) w.push_back(value.to(torch::kFloat32));
  const torch::NoGradGuard no_grad;
  const LatentAttention attention = latent_attention(c, w);
  const Pass pass = test_pass();
  const Tensor whole = attention.forward(w[0], 7, ForwardState(pass));
  for (const std::int64_t step : {1, 3, 7}) {
    Cache cache(std::vector<Cache::Sight>(1));
    ForwardState state(pass);
    state.caches = {&cache};
    std::vector<Tensor> parts;
    for (std::int64_t t = 0; t < 7; t += step) {
      const std::int64_t count = std::min<std::int64_t>(step, 7 - t);
      parts.push_back(attention.forward(w[0].narrow(1, t, count), state));
      cache.advance(count);
    }
    expect_close(torch::cat(parts, 1), whole, 1e-6);
  }
}

}  // namespace
}  // namespace mote::model
