#include "kernels/sequence/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/core/guarded.h"
#include "kernels/core/variant_test.h"
#include "kernels/sequence/attention/attention_cases.h"

namespace mote::kernels {
namespace {

struct Forward {
  std::vector<float> o, lse;
};

using CallForward = std::function<void(const Attention&)>;
using CallBackward = std::function<void(const AttentionBackward&)>;

CallForward forward_by(const Variant<Attention>& variant, const Executor& executor = serial()) {
  return [=, &executor](const Attention& args) { variant.call(args, {variant.isa, &executor}); };
}
CallBackward backward_by(const Variant<AttentionBackward>& variant,
                         const Executor& executor = serial()) {
  return [=, &executor](const AttentionBackward& args) {
    variant.call(args, {variant.isa, &executor});
  };
}
const Variant<Attention>& reference() {
  return attention_variants().front();
}
const Variant<AttentionBackward>& backward_reference() {
  return attention_backward_variants().front();
}

// Outputs start as NaN: whatever is not written shows.
void spoil(Guarded<float>& x) {
  std::fill_n(x.data(), x.size(), NAN);
}

Forward forward(const AttentionData& data, const CallForward& call) {
  Guarded<float> o(data.num_outputs()), lse(data.num_queries());
  spoil(o), spoil(lse);
  call(data.args(o.data(), lse.data()));
  return {o.values(), lse.values()};
}

// The gradients, or what bounds the sizes of the terms of their sums.
struct Gradients {
  std::vector<float> dq, dk, dv, dr, du, dw, dbias, dsink, dscale;

  std::vector<std::pair<const char*, const std::vector<float>*>> all() const {
    return {{"dq", &dq}, {"dk", &dk},    {"dv", &dv},       {"dr", &dr},        {"du", &du},
            {"dw", &dw}, {"db", &dbias}, {"dsink", &dsink}, {"dscale", &dscale}};
  }
};

Gradients backward(const AttentionData& data, const std::vector<float>& output_grad,
                   const CallForward& call_forward, const CallBackward& call) {
  const AttentionCase& s = data.shape;
  Forward saved = forward(data, call_forward);
  const Index row = s.batch * s.heads * s.width;
  const Index of_r = s.relative ? row : 0;
  Guarded<float> dq(row * s.queries), dk(s.batch * s.keys * s.groups * s.width),
      dv(s.batch * s.keys * s.groups * s.value_width), dr(of_r * data.distances), du(of_r),
      dw(of_r), dbias(s.batch * s.heads * s.bias), dsink(s.sink ? s.batch * s.heads : 0),
      dscale(s.batch * s.heads);
  for (Guarded<float>* each : {&dq, &dk, &dv, &dr, &du, &dw, &dbias, &dsink, &dscale}) spoil(*each);
  AttentionBackward args;
  args.forward = data.args(saved.o.data(), saved.lse.data());
  args.do_BTHE = data.rows(output_grad.data(), s.queries, s.heads, s.value_width);
  args.dq_BTHC = data.rows(dq.data(), s.queries, s.heads, s.width);
  args.dk_BSGC = data.rows(dk.data(), s.keys, s.groups, s.width);
  args.dv_BSGE = data.rows(dv.data(), s.keys, s.groups, s.value_width);
  if (args.forward.r_DHC.data)
    args.dr_BDHC = dr.data(), args.du_BHC = du.data(), args.dw_BHC = dw.data();
  if (s.bias) args.dbias_BHD = dbias.data();
  if (s.sink) args.dsink_BH = dsink.data();
  args.dscale_BH = dscale.data();
  call(args);
  return {dq.values(), dk.values(),    dv.values(),    dr.values(),    du.values(),
          dw.values(), dbias.values(), dsink.values(), dscale.values()};
}

// The same sums as the reference's with every term replaced by its size. Errors are relative to
// these.
class Sizes {
 public:
  Gradients of;
  double largest_logit = 0, largest_value = 0;

  Sizes(const AttentionData& data, const std::vector<float>& output_grad)
      : s_(data.shape), grad_(output_grad), lse_(forward(data, forward_by(reference())).lse) {
    a_ = data.args(nullptr, nullptr);
    const auto zeros = [](Index n) { return std::vector<float>(static_cast<std::size_t>(n)); };
    const Index heads = s_.batch * s_.heads, row = heads * s_.width, of_r = s_.relative ? row : 0;
    of = {zeros(row * s_.queries),
          zeros(s_.batch * s_.keys * s_.groups * s_.width),
          zeros(s_.batch * s_.keys * s_.groups * s_.value_width),
          zeros(of_r * data.distances),
          zeros(of_r),
          zeros(of_r),
          zeros(heads * s_.bias),
          zeros(s_.sink ? heads : 0),
          zeros(heads)};
    for (Index b = 0; b < s_.batch; ++b)
      for (Index h = 0; h < s_.heads; ++h)
        for (Index t = 0; t < s_.queries; ++t) add_query(b, h, t);
  }

 private:
  struct Score {
    double value = 0, size = 0;
  };
  // sum (x + add) y
  Score product(const float* x, const float* add, const float* y, Index n) const {
    Score sum;
    for (Index c = 0; c < n; ++c) {
      const double term = (static_cast<double>(x[c]) + (add ? static_cast<double>(add[c]) : 0)) *
                          static_cast<double>(y[c]);
      sum.value += term, sum.size += std::abs(term);
    }
    return sum;
  }
  template <class T>
  static T* at(const View<T, 4>& x, Index b, Index t, Index h) {
    return x.data + b * x.stride(0) + t * x.stride(1) + h * x.stride(2);
  }
  static void add(std::vector<float>& to, Index i, double size) {
    to[static_cast<std::size_t>(i)] += static_cast<float>(std::abs(size));
  }

  void add_query(Index b, Index h, Index t) {
    const Index g = h / (s_.heads / s_.groups), head = b * s_.heads + h;
    const KeyRange range = a_.sees_BT(b, t);
    const Index end = std::min<Index>(range.last + 1, a_.lengths_B ? a_.lengths_B[b] : s_.keys);
    const float* q = at(a_.q_BTHC, b, t, h);
    const float* d_o = grad_.data() + ((b * s_.queries + t) * s_.heads + h) * s_.value_width;
    const auto lse = static_cast<double>(lse_[static_cast<std::size_t>(head * s_.queries + t)]);
    const auto scale = static_cast<double>(a_.scale);
    const float* u = a_.u_HC ? a_.u_HC + h * s_.width : nullptr;
    const float* w = a_.w_HC ? a_.w_HC + h * s_.width : nullptr;
    double mean = 0;
    for (const bool second : {false, true})
      for (Index j = range.first; j < end; ++j) {
        const Index distance = a_.at_B(b) + t - j, row = a_.r_DHC.size(0) - 1 - distance;
        const float* k = at(a_.k_BSGC, b, j, g);
        const float* r = s_.relative ? &a_.r_DHC(row, h, 0) : nullptr;
        Score score = product(q, u, k, s_.width);
        if (r) {
          const Score more = product(q, w, r, s_.width);
          score.value += more.value, score.size += more.size;
        }
        const Index column =
            std::clamp<Index>(a_.bias_farthest - distance, 0, s_.bias - (s_.bias > 0));
        const double bias = s_.bias ? static_cast<double>(a_.bias_HD(h, column)) : 0;
        const double p = std::exp(scale * score.value + bias - lse);
        const double dp = product(d_o, nullptr, at(a_.v_BSGE, b, j, g), s_.value_width).size;
        if (!second) {
          largest_logit = std::max(largest_logit, scale * score.size + std::abs(bias));
          for (Index e = 0; e < s_.value_width; ++e)
            largest_value =
                std::max(largest_value, std::abs(static_cast<double>(at(a_.v_BSGE, b, j, g)[e])));
          mean += p * dp;
          continue;
        }
        const double dl = p * (dp + mean), dx = scale * dl;
        add(of.dscale, head, dl * score.size);
        if (s_.bias) add(of.dbias, head * s_.bias + column, dl);
        const Index key = (b * s_.keys + j) * s_.groups + g;
        for (Index e = 0; e < s_.value_width; ++e)
          add(of.dv, key * s_.value_width + e, p * static_cast<double>(d_o[e]));
        for (Index c = 0; c < s_.width; ++c) {
          const auto number = [c](const float* x) {
            return x ? std::abs(static_cast<double>(x[c])) : 0;
          };
          add(of.dk, key * s_.width + c, dx * (number(q) + number(u)));
          add(of.dq, ((b * s_.queries + t) * s_.heads + h) * s_.width + c,
              dx * (number(k) + number(r)));
          if (!r) continue;
          add(of.du, head * s_.width + c, dx * number(k));
          add(of.dw, head * s_.width + c, dx * number(r));
          add(of.dr, ((b * a_.r_DHC.size(0) + row) * s_.heads + h) * s_.width + c,
              dx * (number(q) + number(w)));
        }
      }
    if (s_.sink) add(of.dsink, head, mean * std::exp(static_cast<double>(a_.sink_H[h]) - lse));
  }

  const AttentionCase s_;
  const std::vector<float>& grad_;
  const std::vector<float> lse_;
  Attention a_;
};

// Relative error of a weight: two logits are off by the roundings of their sums (of both products,
// the scale and the bias), exponentials, their sum and its rescaling by one each.
double weight_error(const AttentionCase& shape, const Sizes& sizes) {
  const auto terms = static_cast<double>(shape.width + 6);
  return (2 * terms * sizes.largest_logit + static_cast<double>(shape.keys) + 8) * kRounding;
}

// Inputs are finite where they are seen, NaN in padding; outputs that are not written are NaN.
bool has_nan(const std::vector<float>& x) {
  return std::any_of(x.begin(), x.end(), [](float each) { return std::isnan(each); });
}

// Log-sum-exps with a number for those of nothing, so that they compare.
std::vector<float> comparable(std::vector<float> lse) {
  for (float& each : lse)
    if (each == -INFINITY) each = -12345;
  return lse;
}

void expect_forward(const Forward& got, const Forward& want, const AttentionData& data,
                    const std::string& what = "") {
  const Sizes sizes(data, std::vector<float>(static_cast<std::size_t>(data.num_outputs())));
  const double p = weight_error(data.shape, sizes);
  // An output is a mean of values, by weights that sum to 1.
  const std::vector<float> values(want.o.size(), static_cast<float>(sizes.largest_value)),
      ones(want.lse.size(), 1);
  EXPECT_FALSE(has_nan(want.o) || has_nan(want.lse)) << what;
  const double summed = p + static_cast<double>(data.shape.keys) * kRounding;
  EXPECT_LE(worst_error(got.o, want.o, values, summed), 1) << "o " << what;
  EXPECT_LE(worst_error(comparable(got.lse), comparable(want.lse), ones, p), 1) << "lse " << what;
}

using AttentionForward = VariantTest<Variant<Attention>, AttentionCase>;

TEST_P(AttentionForward, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const AttentionData data(shape);
  expect_forward(forward(data, forward_by(variant)), forward(data, forward_by(reference())), data);
}

INSTANTIATE_TEST_SUITE_P(All, AttentionForward,
                         ::testing::Combine(::testing::ValuesIn(attention_variants().begin(),
                                                                attention_variants().end()),
                                            ::testing::ValuesIn(attention_cases())),
                         [](const auto& each) { return print_variant_case(each); });

using AttentionBackwards = VariantTest<Variant<AttentionBackward>, AttentionCase>;

// The row of forward that goes with one of backward.
const Variant<Attention>& forward_of(Isa isa) {
  for (const Variant<Attention>& row : attention_variants())
    if (row.isa == isa) return row;
  return reference();
}

TEST_P(AttentionBackwards, MatchesReference) {
  const auto& [variant, shape] = GetParam();
  const AttentionData data(shape);
  const std::vector<float> output_grad = normals(data.num_outputs(), 7);
  const Gradients got = backward(data, output_grad, forward_by(forward_of(variant.isa)),
                                 backward_by(variant)),
                  want = backward(data, output_grad, forward_by(reference()),
                                  backward_by(backward_reference()));
  const Sizes sizes(data, output_grad);
  // Weights, and sums of their products over widths, keys and rows of queries.
  const double tolerance = 2 * weight_error(shape, sizes) +
                           static_cast<double>(shape.width + shape.value_width + shape.keys +
                                               shape.queries * shape.heads) *
                               kRounding;
  for (std::size_t i = 0; i < want.all().size(); ++i) {
    EXPECT_FALSE(has_nan(*want.all()[i].second)) << want.all()[i].first;
    EXPECT_LE(worst_error(*got.all()[i].second, *want.all()[i].second, *sizes.of.all()[i].second,
                          tolerance),
              1)
        << want.all()[i].first;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, AttentionBackwards,
    ::testing::Combine(::testing::ValuesIn(attention_backward_variants().begin(),
                                           attention_backward_variants().end()),
                       ::testing::ValuesIn(attention_cases())),
    [](const auto& each) { return print_variant_case(each); });

// d loss / d input along a direction, for loss = <o, output_grad>: the reference's own gradient,
// and differences of the reference's outputs over four points, which are off by the fourth power of
// the step and by the rounding of outputs over it.
void expect_derivative(const AttentionData& data, const std::vector<float>& output_grad,
                       std::vector<float> AttentionData::*input, const std::vector<float>& gradient,
                       const char* what) {
  const std::vector<float> direction = normals(static_cast<Index>((data.*input).size()), 12);
  const auto loss = [&](double step) {
    AttentionData moved = data;
    for (std::size_t i = 0; i < direction.size(); ++i)
      (moved.*input)[i] += static_cast<float>(step) * direction[i];
    const std::vector<float> o = forward(moved, forward_by(reference())).o;
    double sum = 0;
    for (std::size_t i = 0; i < o.size(); ++i)
      sum += static_cast<double>(o[i]) * static_cast<double>(output_grad[i]);
    return sum;
  };
  constexpr double kStep = 0x1p-5;
  const double numeric =
      (8 * (loss(kStep) - loss(-kStep)) - (loss(2 * kStep) - loss(-2 * kStep))) / (12 * kStep);
  double analytic = 0;
  for (std::size_t i = 0; i < direction.size(); ++i)
    analytic += static_cast<double>(gradient[i]) * static_cast<double>(direction[i]);
  EXPECT_NEAR(analytic, numeric, 1e-4 * std::max(1.0, std::abs(numeric))) << what;
}

// A gradient of rows without gaps, in the places of an input with gaps that begins one float late.
std::vector<float> spaced(const std::vector<float>& x, Index row, Index stride) {
  std::vector<float> all(
      x.size() / static_cast<std::size_t>(row) * static_cast<std::size_t>(stride) + 1);
  for (std::size_t i = 0; i < x.size(); ++i)
    all[1 + i / static_cast<std::size_t>(row) * static_cast<std::size_t>(stride) +
        i % static_cast<std::size_t>(row)] = x[i];
  return all;
}
// Partials of `batch` sequences together.
std::vector<float> over_batch(const std::vector<float>& x, Index batch) {
  std::vector<float> sum(x.size() / static_cast<std::size_t>(batch));
  for (std::size_t i = 0; i < x.size(); ++i) sum[i % sum.size()] += x[i];
  return sum;
}

TEST(AttentionReference, GradientsEqualDifferences) {
  AttentionCase masked = causal(6, 9, 4, 3), open = causal(4, 7, 3, 5);
  masked.batch = 2, masked.heads = 4, masked.groups = 2;
  open.sight.ahead = true, open.bias = 6, open.heads = 2;
  for (const AttentionCase& c : {with_all_terms(masked, 5), open}) {
    const AttentionData data(c);
    const std::vector<float> grad = normals(data.num_outputs(), 7);
    const Gradients g =
        backward(data, grad, forward_by(reference()), backward_by(backward_reference()));
    const auto expect = [&](std::vector<float> AttentionData::*input,
                            const std::vector<float>& gradient, const char* what) {
      expect_derivative(data, grad, input, gradient, what);
    };
    expect(&AttentionData::q, spaced(g.dq, c.heads * c.width, data.q_stride), "q");
    expect(&AttentionData::k, spaced(g.dk, c.groups * c.width, data.k_stride), "k");
    expect(&AttentionData::v, spaced(g.dv, c.groups * c.value_width, data.v_stride), "v");
    expect(&AttentionData::bias, over_batch(g.dbias, c.batch), "bias");
    if (!c.relative) continue;
    expect(&AttentionData::r, over_batch(g.dr, c.batch), "r");
    expect(&AttentionData::u, over_batch(g.du, c.batch), "u");
    expect(&AttentionData::w, over_batch(g.dw, c.batch), "w");
    expect(&AttentionData::sink, over_batch(g.dsink, c.batch), "sink");
  }
}

// A larger scale is the same as larger queries and biases of queries.
TEST(AttentionReference, TheGradientOfTheScaleIsThatOfTheScores) {
  const AttentionData data(with_all_terms(causal(5, 8, 4, 3), 5));
  const std::vector<float> grad = normals(data.num_outputs(), 7);
  const Gradients g =
      backward(data, grad, forward_by(reference()), backward_by(backward_reference()));
  const auto inner = [](const std::vector<float>& a, const float* b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
  };
  const double moved = inner(spaced(g.dq, data.shape.width, data.q_stride), data.q.data()) +
                       inner(g.du, data.u.data()) + inner(g.dw, data.w.data());
  const auto scale = static_cast<double>(data.args(nullptr, nullptr).scale);
  EXPECT_NEAR(static_cast<double>(g.dscale[0]), moved / scale, 1e-5 * std::abs(moved / scale));
}

TEST(AttentionThreads, DoNotChangeABit) {
  const ThreadPool two(2), five(5);
  for (const AttentionCase& shape : attention_cases()) {
    const AttentionData data(shape);
    const std::vector<float> grad = normals(data.num_outputs(), 7);
    const auto by = [&](const Executor& executor) {
      const kernels::Run run{Isa::amx, &executor};
      const CallForward call = [&](const Attention& args) { attention(args, run); };
      return std::pair{forward(data, call),
                       backward(data, grad, call, [&](const AttentionBackward& args) {
                         attention_backward(args, run);
                       })};
    };
    const auto [one, one_back] = by(serial());
    for (const ThreadPool* pool : {&two, &five}) {
      const auto [many, many_back] = by(*pool);
      EXPECT_EQ(one.o, many.o) << case_name(shape);
      EXPECT_EQ(one.lse, many.lse) << case_name(shape);
      for (std::size_t i = 0; i < one_back.all().size(); ++i)
        EXPECT_EQ(*one_back.all()[i].second, *many_back.all()[i].second)
            << case_name(shape) << " " << one_back.all()[i].first;
    }
  }
}

// The queries of a case, `step` at a time, each call with the keys up to its last query.
Forward in_steps(const AttentionData& whole, Index step) {
  const AttentionCase& s = whole.shape;
  Forward all = {std::vector<float>(static_cast<std::size_t>(whole.num_outputs())),
                 std::vector<float>(static_cast<std::size_t>(whole.num_queries()))};
  for (Index first = 0; first < s.queries; first += step) {
    const Index count = std::min(step, s.queries - first);
    AttentionSight sight = s.sight;
    sight.first_query += first;
    const Index keys = sight.first_query + count - sight.first_key;
    std::vector<KeyRange> sees(static_cast<std::size_t>(count));
    see(sight, count, keys, sees.data());
    const auto at = static_cast<std::int32_t>(sight.first_query - sight.first_key);
    std::vector<float> lse(static_cast<std::size_t>(s.batch * s.heads * count));
    Attention args = whole.args(all.o.data(), lse.data());
    args.q_BTHC.data += first * args.q_BTHC.stride(1);
    args.o_BTHE.data += first * args.o_BTHE.stride(1);
    args.q_BTHC.sizes[1] = args.o_BTHE.sizes[1] = count;
    args.k_BSGC.sizes[1] = args.v_BSGE.sizes[1] = keys;
    args.sees_BT = {sees.data(), {s.batch, count}, {0, 1}};
    args.at_B = {&at, {s.batch}, {0}};
    attention(args, {});
    for (Index i = 0; i < s.batch * s.heads; ++i)
      std::copy_n(lse.data() + i * count, count, all.lse.data() + i * s.queries + first);
  }
  return all;
}

// Any step sums the same terms, in another order, so that what one call gives is as close as the
// reference is.
TEST(AttentionSteps, DoNotChangeWhatAPositionSees) {
  for (const AttentionCase& shape : attention_cases()) {
    if (shape.sight.ahead || shape.lengths || shape.apart) continue;
    const AttentionData data(shape);
    const Forward whole = in_steps(data, std::max<Index>(1, shape.queries));
    for (const Index step : {1, 7, 20})
      expect_forward(in_steps(data, step), whole, data,
                     case_name(shape) + " in steps of " + std::to_string(step));
  }
}

TEST(AttentionNan, SpreadsToTheQueriesThatSeeIt) {
  for (const Index queries : {1, 40})
    for (const Variant<Attention>& variant : attention_variants()) {
      if (!supported(variant.isa)) continue;
      AttentionData data(causal(queries, 40, 8, 8));
      data.k[static_cast<std::size_t>(1 + 39 * data.k_stride)] = NAN;  // the last query's own
      const Forward got = forward(data, forward_by(variant));
      for (Index t = 0; t < queries; ++t)
        EXPECT_EQ(std::isnan(got.o[static_cast<std::size_t>(8 * t)]), t == queries - 1)
            << name(variant.isa) << " query " << t << " of " << queries;
    }
}

TEST(AttentionOfNothing, IsZeroAndNeverNan) {
  for (const bool sink : {false, true})
    for (const Variant<Attention>& variant : attention_variants()) {
      if (!supported(variant.isa)) continue;
      AttentionCase c = causal(3, 5, 8, 8);
      c.sink = sink;
      AttentionData data(c);
      data.sees = {{0, -1}, {0, 2}, {5, 4}};  // none, three, none
      const Forward got = forward(data, forward_by(variant));
      for (const std::size_t t : {0, 2}) {
        EXPECT_EQ(got.lse[t], sink ? data.sink[0] : -INFINITY) << name(variant.isa);
        for (std::size_t e = 0; e < 8; ++e) EXPECT_EQ(got.o[8 * t + e], 0) << name(variant.isa);
      }
      EXPECT_TRUE(std::isfinite(got.lse[1]) && got.o[8] != 0) << name(variant.isa);
    }
}

// Bytes of scratch that a call takes: forward, and forward and backward.
std::pair<std::size_t, std::size_t> scratch_taken(Index queries, Index keys) {
  AttentionCase c = with_all_terms(causal(queries, keys, 8, 16), 20);
  c.heads = 4, c.groups = 2;
  const AttentionData data(c);
  const std::vector<float> grad = normals(data.num_outputs(), 7);
  const auto call = [](const Attention& args) { attention(args, {}); };
  Scratch::take_peak();
  forward(data, call);
  const std::size_t forwards = Scratch::take_peak();
  backward(data, grad, call, [](const AttentionBackward& args) { attention_backward(args, {}); });
  return {forwards, Scratch::take_peak()};
}

TEST(AttentionScratch, DoesNotGrowWithTheContext) {
  for (const Index queries : {1, 100})
    EXPECT_EQ(scratch_taken(queries, 1024), scratch_taken(queries, 16384)) << queries;
}

TEST(AttentionSight, SeesByPosition) {
  const auto ranges = [](const AttentionSight& sight, Index queries, Index keys) {
    std::vector<KeyRange> sees(static_cast<std::size_t>(queries));
    see(sight, queries, keys, sees.data());
    std::vector<std::pair<int, int>> all;
    for (const KeyRange& each : sees) all.emplace_back(each.first, each.last);
    return all;
  };
  using Ranges = std::vector<std::pair<int, int>>;
  EXPECT_EQ(ranges({}, 3, 3), (Ranges{{0, 0}, {0, 1}, {0, 2}}));
  EXPECT_EQ(ranges({5, 2, 0, 0, 3}, 2, 5), (Ranges{{1, 3}, {2, 4}}));
  EXPECT_EQ(ranges({5, 2, 3, 1}, 2, 5), (Ranges{{0, 3}, {3, 4}}));
  EXPECT_EQ(ranges({7, 0, 0, 0, 0, true}, 2, 4), (Ranges{{0, 3}, {0, 3}}));
  EXPECT_THROW(ranges({5, 2}, 1, 9), Error);        // positions 0 and 1 are missing
  EXPECT_THROW(ranges({5, 0}, 2, 6), Error);        // position 6 is
  EXPECT_THROW(ranges({9, 6, 5, 0}, 1, 4), Error);  // position 5 is
}

// Every refusal names the two numbers that disagree.
TEST(AttentionCheck, NamesBothNumbers) {
  AttentionCase c = with_all_terms(causal(4, 6, 8, 8), 5);
  c.batch = 2, c.heads = 4, c.groups = 2, c.lengths = true;
  const AttentionData data(c);
  const auto refused = [&](const char* text, const std::function<void(Attention&)>& change) {
    std::vector<float> o(static_cast<std::size_t>(data.num_outputs()));
    Attention args = data.args(o.data(), nullptr);
    change(args);
    try {
      attention(args, {});
      ADD_FAILURE() << "accepted what should say: " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  const std::int32_t lengths[] = {7, 2}, negative[] = {-1, 2};
  std::vector<KeyRange> sees = data.sees;
  const auto first_sees = [&](KeyRange range) {
    return [&, range](Attention& a) {
      sees[0] = range;
      a.sees_BT.data = sees.data();
    };
  };
  refused("k is [2, 6, 2, 7] where [2, 6, 2, 8]", [](Attention& a) { a.k_BSGC.sizes[3] = 7; });
  refused("v is [2, 5, 2, 8] where [2, 6, 2, 8]", [](Attention& a) { a.v_BSGE.sizes[1] = 5; });
  refused("o is [2, 4, 4, 8] where [2, 4, 4, 7]", [](Attention& a) { a.v_BSGE.sizes[3] = 7; });
  refused("4 query heads cannot share 3",
          [](Attention& a) { a.k_BSGC.sizes[2] = a.v_BSGE.sizes[2] = 3; });
  refused("sees is [2, 3] where [2, 4]", [](Attention& a) { a.sees_BT.sizes[1] = 3; });
  refused("at is [1] where [2]", [](Attention& a) { a.at_B.sizes[0] = 1; });
  refused("length of 7, there are 6", [&](Attention& a) { a.lengths_B = lengths; });
  refused("length of -1, there are 6", [&](Attention& a) { a.lengths_B = negative; });
  refused("from 0 to 6, there are 6", first_sees({0, 6}));
  refused("from -1 to 2, there are 6", first_sees({-1, 2}));
  refused("from 4 to 2, there are 6", first_sees({4, 2}));
  refused("r is [6, 3, 8] where [6, 4, 8]", [](Attention& a) { a.r_DHC.sizes[1] = 3; });
  refused("to 5, relative positions are for 0 to 4", [](Attention& a) { a.r_DHC.sizes[0] = 5; });
  refused("bias is [3, 5] where [4, 5]", [](Attention& a) { a.bias_HD.sizes[0] = 3; });
  refused("bias of 4 heads has 0", [](Attention& a) { a.bias_HD.sizes[1] = 0; });
}

}  // namespace
}  // namespace mote::kernels
