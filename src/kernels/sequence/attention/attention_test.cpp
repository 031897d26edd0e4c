#include "kernels/sequence/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/core/guarded.h"
#include "kernels/sequence/attention/attention_cases.h"

namespace mote::kernels {
namespace {

struct Forward {
  std::vector<float> o, lse;
};

template <class Call>
Forward forward(const AttentionData& data, const Call& call) {
  Guarded<float> o(data.outputs()), lse(data.rows_of_scores());
  std::fill_n(o.data(), o.size(), NAN);
  call(data.args(o.data(), lse.data()));
  return {o.values(), lse.values()};
}
Forward kernel_forward(const AttentionData& data, const Run& run) {
  return forward(data, [&](const Attention& args) { attention(args, run); });
}

struct Backward {
  std::vector<float> dq, dk, dv, dr, du, dw, dscale;
};

Backward kernel_backward(const AttentionData& data, const std::vector<float>& output_grad,
                         const Run& run) {
  const AttentionCase& s = data.shape;
  Forward saved = kernel_forward(data, run);
  const Index row = s.heads * s.width, of_keys = s.batch * data.keys * row;
  Guarded<float> dq(data.outputs()), dk(of_keys), dv(of_keys), dr(s.batch * data.distances * row),
      du(s.batch * row), dw(s.batch * row), dscale(s.batch * s.heads);
  for (Guarded<float>* each : {&dq, &dk, &dv, &dr, &du, &dw, &dscale})
    std::fill_n(each->data(), each->size(), NAN);
  AttentionBackward args;
  args.forward = data.args(saved.o.data(), saved.lse.data());
  args.do_BTHC = data.rows(output_grad.data(), s.queries);
  args.dq_BTHC = data.rows(dq.data(), s.queries);
  args.dk_BSHC = data.rows(dk.data(), data.keys);
  args.dv_BSHC = data.rows(dv.data(), data.keys);
  if (s.relative) {
    args.dr_BDHC = dr.data();
    args.du_BHC = du.data();
    args.dw_BHC = dw.data();
    args.dscale_BH = dscale.data();
  }
  attention_backward(args, run);
  return {dq.values(), dk.values(), dv.values(),    dr.values(),
          du.values(), dw.values(), dscale.values()};
}

// The gradients by the chain rule in double, one score at a time; `sizes` sums the sizes of all
// terms, to which errors are relative.
class Oracle {
 public:
  struct Sums {
    std::vector<double> dq, dk, dv, dr, du, dw, dscale;
  };
  Sums want, sizes;
  double largest = 0;  // of the sums of the sizes of a logit's terms

  Oracle(const AttentionData& data, const std::vector<float>& output_grad)
      : d_(data), s_(data.shape), output_grad_(output_grad) {
    const auto cells = [](Index n) { return std::vector<double>(static_cast<std::size_t>(n)); };
    const Index row = s_.heads * s_.width, of_keys = s_.batch * d_.keys * row;
    want = {cells(d_.outputs()),
            cells(of_keys),
            cells(of_keys),
            cells(s_.batch * d_.distances * row),
            cells(s_.batch * row),
            cells(s_.batch * row),
            cells(s_.batch * s_.heads)};
    sizes = want;
    for (Index b = 0; b < s_.batch; ++b)
      for (Index h = 0; h < s_.heads; ++h)
        for (Index t = 0; t < s_.queries; ++t) add_query(b, h, t);
  }

 private:
  static double at(const std::vector<float>& x, Index i) {
    return static_cast<double>(x[static_cast<std::size_t>(i)]);
  }
  Index of_query(Index b, Index t, Index h) const {
    return ((b * s_.queries + t) * s_.heads + h) * s_.width;
  }
  Index of_key(Index b, Index j, Index h) const {
    return ((b * d_.keys + j - d_.sight.first_key) * s_.heads + h) * s_.width;
  }
  Index of_distance(Index distance, Index h) const {
    return ((d_.distances - 1 - distance) * s_.heads + h) * s_.width;
  }
  static void add(std::vector<double>& sum, std::vector<double>& size, Index i, double value,
                  double value_size) {
    sum[static_cast<std::size_t>(i)] += value;
    size[static_cast<std::size_t>(i)] += value_size;
  }

  void add_query(Index b, Index h, Index t) {
    const Index i = d_.sight.first_query + t, first = d_.sight.first_seen(i), q = of_query(b, t, h);
    const double scale = static_cast<double>(d_.scale());
    const auto bias = [&](const std::vector<float>& x, Index c) {
      return s_.relative ? at(x, h * s_.width + c) : 0;
    };
    std::vector<double> score, score_size, p, dp;
    double sum = 0, mean = 0, mean_size = 0;
    for (Index j = first; j <= i; ++j) {
      double value = 0, size = 0, product = 0;
      for (Index c = 0; c < s_.width; ++c) {
        const double content = (at(d_.q, q + c) + bias(d_.u, c)) * at(d_.k, of_key(b, j, h) + c);
        const double position =
            s_.relative ? (at(d_.q, q + c) + bias(d_.w, c)) * at(d_.r, of_distance(i - j, h) + c)
                        : 0;
        value += content + position;
        size += std::abs(content) + std::abs(position);
        product += at(output_grad_, q + c) * at(d_.v, of_key(b, j, h) + c);
      }
      score.push_back(value), score_size.push_back(size), dp.push_back(product);
      largest = std::max(largest, scale * size);
      p.push_back(std::exp(scale * value));
      sum += p.back();
    }
    for (std::size_t n = 0; n < p.size(); ++n) {
      p[n] /= sum;
      mean += p[n] * dp[n], mean_size += p[n] * std::abs(dp[n]);
    }
    for (Index j = first; j <= i; ++j) {
      const auto n = static_cast<std::size_t>(j - first);
      const double ds = scale * p[n] * (dp[n] - mean),
                   size = scale * p[n] * (std::abs(dp[n]) + mean_size);
      add(want.dscale, sizes.dscale, b * s_.heads + h, ds / scale * score[n],
          size / scale * score_size[n]);
      for (Index c = 0; c < s_.width; ++c) {
        const Index key = of_key(b, j, h) + c, row = (b * s_.heads + h) * s_.width + c;
        const double g = at(output_grad_, q + c), k = at(d_.k, key);
        add(want.dv, sizes.dv, key, p[n] * g, p[n] * std::abs(g));
        const double qu = at(d_.q, q + c) + bias(d_.u, c), qw = at(d_.q, q + c) + bias(d_.w, c);
        add(want.dk, sizes.dk, key, ds * qu, size * std::abs(qu));
        add(want.dq, sizes.dq, q + c, ds * k, size * std::abs(k));
        if (!s_.relative) continue;
        const double r = at(d_.r, of_distance(i - j, h) + c);
        add(want.dq, sizes.dq, q + c, ds * r, size * std::abs(r));
        add(want.du, sizes.du, row, ds * k, size * std::abs(k));
        add(want.dw, sizes.dw, row, ds * r, size * std::abs(r));
        add(want.dr, sizes.dr, b * d_.distances * s_.heads * s_.width + of_distance(i - j, h) + c,
            ds * qw, size * std::abs(qw));
      }
    }
  }

  const AttentionData& d_;
  const AttentionCase& s_;
  const std::vector<float>& output_grad_;
};

std::vector<float> floats(const std::vector<double>& x) {
  return {x.begin(), x.end()};
}

// Relative error of a probability: two logits are off by the roundings of their sums, exponentials
// and their sum by what softmax_test.cpp says.
double probability_error(const AttentionData& data, double largest) {
  const auto terms = static_cast<double>(data.shape.width + 6);
  return (2 * terms * largest + static_cast<double>(data.keys) + 8) * kRounding;
}

class AttentionIsa : public ::testing::TestWithParam<std::tuple<Isa, AttentionCase>> {
 protected:
  void SetUp() override {
    const Isa isa = std::get<0>(GetParam());
    if (!supported(isa)) GTEST_SKIP() << "no " << name(isa) << " here";
  }
  AttentionData data() const { return AttentionData(std::get<1>(GetParam())); }
  kernels::Run isa() const { return {std::get<0>(GetParam())}; }
};

TEST_P(AttentionIsa, ForwardMatchesReference) {
  const AttentionData made = data();
  const Forward got = kernel_forward(made, isa()),
                want = forward(made, [](const Attention&args) { attention_reference(args); });
  const std::vector<float> nothing(static_cast<std::size_t>(made.outputs()));
  const double p = probability_error(made, Oracle(made, nothing).largest);
  // An output is a mean of values, by probabilities that sum to 1.
  const std::vector<float> sizes = absolute(made.v);
  const float largest = sizes.empty() ? 0 : *std::max_element(sizes.begin(), sizes.end());
  EXPECT_LE(worst_error(got.o, want.o, std::vector<float>(want.o.size(), largest),
                        p + static_cast<double>(made.keys) * kRounding),
            1);
  EXPECT_LE(worst_error(got.lse, want.lse, std::vector<float>(want.lse.size(), 1), p), 1);
}

TEST_P(AttentionIsa, BackwardMatchesTheChainRule) {
  const AttentionData made = data();
  const std::vector<float> output_grad = normals(made.outputs(), 7);
  const Backward got = kernel_backward(made, output_grad, isa());
  const Oracle oracle(made, output_grad);
  const double tolerance =
      2 * probability_error(made, oracle.largest) +
      static_cast<double>(made.shape.width + made.keys + made.shape.queries) * kRounding;
  const auto worst = [&](const std::vector<float>& x, std::vector<double> Oracle::Sums::*of) {
    return worst_error(x, floats(oracle.want.*of), floats(oracle.sizes.*of), tolerance);
  };
  EXPECT_LE(worst(got.dq, &Oracle::Sums::dq), 1);
  EXPECT_LE(worst(got.dk, &Oracle::Sums::dk), 1);
  EXPECT_LE(worst(got.dv, &Oracle::Sums::dv), 1);
  if (!made.shape.relative) return;
  EXPECT_LE(worst(got.dr, &Oracle::Sums::dr), 1);
  EXPECT_LE(worst(got.du, &Oracle::Sums::du), 1);
  EXPECT_LE(worst(got.dw, &Oracle::Sums::dw), 1);
  EXPECT_LE(worst(got.dscale, &Oracle::Sums::dscale), 1);
}

std::string print(const ::testing::TestParamInfo<std::tuple<Isa, AttentionCase>>& each) {
  return std::string(name(std::get<0>(each.param))) + "_" + case_name(std::get<1>(each.param));
}
INSTANTIATE_TEST_SUITE_P(All, AttentionIsa,
                         ::testing::Combine(::testing::ValuesIn(all_isas()),
                                            ::testing::ValuesIn(attention_cases())),
                         print);

TEST(AttentionThreads, DoNotChangeABit) {
  const ThreadPool three(3);
  for (const AttentionCase& shape : attention_cases()) {
    const AttentionData data(shape);
    const std::vector<float> grad = normals(data.outputs(), 7);
    EXPECT_EQ(kernel_forward(data, {}).o, kernel_forward(data, {Isa::amx, &three}).o);
    const Backward a = kernel_backward(data, grad, {}),
                   b = kernel_backward(data, grad, {Isa::amx, &three});
    EXPECT_EQ(a.dq, b.dq) << case_name(shape);
    EXPECT_EQ(a.dk, b.dk) << case_name(shape);
    EXPECT_EQ(a.dv, b.dv) << case_name(shape);
  }
}

// The queries [first, first + count) of a case, as a call of their own with all keys up to the
// last.
std::vector<float> in_steps(const AttentionData& whole, Index step) {
  std::vector<float> all(static_cast<std::size_t>(whole.outputs()));
  for (Index first = 0; first < whole.shape.queries; first += step) {
    const Index count = std::min(step, whole.shape.queries - first);
    Attention args = whole.args(all.data(), nullptr);
    args.q_BTHC.data = args.q_BTHC.data + first * args.q_BTHC.stride(1);
    args.o_BTHC.data = args.o_BTHC.data + first * args.o_BTHC.stride(1);
    args.q_BTHC.sizes[1] = args.o_BTHC.sizes[1] = count;
    args.sight.first_query += first;
    const Index keys = args.sight.first_query + count - args.sight.first_key;
    args.k_BSHC.sizes[1] = args.v_BSHC.sizes[1] = keys;
    attention(args, {});
  }
  return all;
}

TEST(AttentionSteps, DoNotChangeWhatAPositionSees) {
  for (const AttentionCase& shape : attention_cases()) {
    const AttentionData data(shape);
    const std::vector<float> whole = in_steps(data, shape.queries);
    const std::vector<float> nothing(static_cast<std::size_t>(data.outputs()));
    // Both sum the same terms in another order.
    const double tolerance = 2 * probability_error(data, Oracle(data, nothing).largest) +
                             static_cast<double>(data.keys) * kRounding;
    for (Index step : {1, 7, 20})
      EXPECT_LE(
          worst_error(in_steps(data, step), whole, std::vector<float>(whole.size(), 4), tolerance),
          1)
          << case_name(shape) << " in steps of " << step;
  }
}

TEST(AttentionCheck, RefusesKeysThatEndBeforeTheLastQuery) {
  const AttentionData data({1, 4, 1, 8});
  std::vector<float> o(static_cast<std::size_t>(data.outputs()));
  Attention args = data.args(o.data(), nullptr);
  args.k_BSHC.sizes[1] = args.v_BSHC.sizes[1] = 3;
  EXPECT_THROW(attention(args, {}), Error);
}

TEST(AttentionCheck, RefusesTooFewDistances) {
  const AttentionData data({1, 4, 1, 8, true});
  std::vector<float> o(static_cast<std::size_t>(data.outputs()));
  Attention args = data.args(o.data(), nullptr);
  args.r_DHC.sizes[0] = 3;
  EXPECT_THROW(attention(args, {}), Error);
}

}  // namespace
}  // namespace mote::kernels
