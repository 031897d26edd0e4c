#include "kernels/sequence/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/scratch.h"
#include "kernels/linear/gemm/gemm.h"
#include "kernels/linear/rows/rows.h"
#include "kernels/sequence/softmax/softmax.h"

namespace mote::kernels {
namespace {

constexpr Index kQueries = 64;  // per step, at most

void check(const Attention& args) {
  const Index heads = args.q_BTHC.size(2), width = args.q_BTHC.size(3);
  MOTE_CHECK(args.k_BSHC.sizes == args.v_BSHC.sizes && args.k_BSHC.size(2) == heads &&
                 args.k_BSHC.size(3) == width && args.k_BSHC.size(0) == args.q_BTHC.size(0),
             "attention: q has ", heads, " heads of ", width, ", k ", args.k_BSHC.size(2), " of ",
             args.k_BSHC.size(3));
  const AttentionSight& s = args.sight;
  const Index last = s.first_query + args.q_BTHC.size(1) - 1,
              keys_end = s.first_key + args.k_BSHC.size(1);
  MOTE_CHECK(last < keys_end, "attention: the last query is at ", last, ", the keys end before ",
             keys_end);
  if (s.first_key > 0)
    MOTE_CHECK(s.block > 0, "attention: every query sees all keys, they begin at ", s.first_key);
  if (s.first_key > 0)
    MOTE_CHECK(s.first_key <= std::max<Index>(0, s.first_query / s.block * s.block - s.memory),
               "attention: the first query sees keys from ",
               s.first_query / s.block * s.block - s.memory, ", they begin at ", s.first_key);
  if (args.r_DHC.data) {
    Index farthest = 0;
    for (Index i = s.first_query; i <= last; i = s.block ? (i / s.block + 1) * s.block : last + 1) {
      const Index end = s.block ? std::min(last, (i / s.block + 1) * s.block - 1) : last;
      farthest = std::max(farthest, end - s.first_seen(i));
    }
    MOTE_CHECK(args.r_DHC.size(0) > farthest, "attention: ", args.r_DHC.size(0),
               " relative positions, the farthest key is ", farthest, " back");
  }
}

// One sequence and head, a few queries: what both directions need.
struct Step {
  Index queries = 0;  // how many
  Index first = 0;    // number of the first one within T
  Index seen = 0;     // position of the first key that any of them sees
  Index keys = 0;     // from `seen` to the last query's own position
  const float *q = nullptr, *k = nullptr, *v = nullptr, *r = nullptr;
  float *qu = nullptr, *qw = nullptr;  // [queries, C]
  float *x = nullptr, *y = nullptr;    // [queries, keys]
};

class Plan {
 public:
  Plan(const Attention& args, const Run& run)
      : a_(args),
        run_(run),
        gemm_(gemm_variant({}, run)),
        softmax_(select(softmax_row_variants(), run)),
        combine_(select(combine_rows_variants(), run)),
        width_(args.q_BTHC.size(3)) {}

  const Variant<Gemm>& gemm() const { return gemm_; }

  // The queries of a step are of one block, so that no distance in it is farther than what is seen.
  Index num_steps() const {
    const Index queries = a_.q_BTHC.size(1);
    return queries == 0 ? 0 : cell(queries - 1) - cell(0) + 1;
  }

  Step start(Index b, Index h, Index number, Scratch& scratch) const {
    const AttentionSight& sight = a_.sight;
    Step s;
    s.first = first_query(number);
    s.queries = std::min(a_.q_BTHC.size(1), first_query(number + 1)) - s.first;
    const Index position = sight.first_query + s.first, last = position + s.queries - 1;
    s.seen = sight.first_seen(position);
    s.keys = last - s.seen + 1;
    s.q = at(a_.q_BTHC, b, s.first, h);
    s.k = at(a_.k_BSHC, b, s.seen - sight.first_key, h);
    s.v = at(a_.v_BSHC, b, s.seen - sight.first_key, h);
    if (a_.r_DHC.data) s.r = &a_.r_DHC(a_.r_DHC.size(0) - s.keys, h, 0);
    s.qu = scratch.take<float>(s.queries * width_);
    s.qw = s.r ? scratch.take<float>(s.queries * width_) : nullptr;
    s.x = scratch.take<float>(s.queries * s.keys);
    s.y = s.r ? scratch.take<float>(s.queries * s.keys) : nullptr;
    return s;
  }

  // x = (q + u) k^T, y = (q + w) r^T.
  void scores(const Step& s, Index h) const {
    add_bias(s, a_.u_HC ? a_.u_HC + h * width_ : nullptr, s.qu);
    product(s.queries, s.keys, width_, {s.qu, width_, Rows::outer},
            {s.k, a_.k_BSHC.stride(1), Rows::outer}, s.x, s.keys, false);
    if (!s.r) return;
    add_bias(s, a_.w_HC ? a_.w_HC + h * width_ : nullptr, s.qw);
    product(s.queries, s.keys, width_, {s.qw, width_, Rows::outer},
            {s.r, a_.r_DHC.stride(0), Rows::outer}, s.y, s.keys, false);
  }

  void product(Index m, Index n, Index k, const Operand& a, const Operand& b, float* c,
               Index c_stride, bool accumulate) const {
    Gemm g;
    g.m = m, g.n = n, g.k = k;
    g.a = a, g.b = b;
    g.c = c, g.c_stride = c_stride;
    g.finish.accumulate = accumulate;
    gemm_.call(g, run_);
  }

  // o = sum_j x[j] v_j for one query: a product would pack v for a single row.
  void weighted_sum(const Step& s, float* o, Scratch& scratch) const {
    auto* every = scratch.take<std::int32_t>(s.keys);
    for (Index j = 0; j < s.keys; ++j) every[j] = static_cast<std::int32_t>(j);
    const std::int32_t one_token[] = {0, static_cast<std::int32_t>(s.keys)};
    combine_.call({{s.v, {s.keys, width_}, {a_.v_BSHC.stride(1), 1}},
                   view(static_cast<const std::int32_t*>(every), s.keys),
                   view(one_token, 2),
                   s.x,
                   view(o, Index{1}, width_)},
                  run_);
  }

  // Where in a row of x query number `i` of the step looks: [begin, end). Its row of y is shifted
  // so that both line up.
  Index begin(const Step& s, Index i) const {
    return a_.sight.first_seen(a_.sight.first_query + s.first + i) - s.seen;
  }
  Index end(const Step& s, Index i) const { return s.keys - (s.queries - 1 - i); }
  float* shifted(const Step& s, float* y, Index i) const {
    return y ? y + i * s.keys + (s.queries - 1 - i) : nullptr;
  }

  void softmax(const Step& s, Index i, float* lse) const {
    softmax_.call(
        {s.x + i * s.keys, shifted(s, s.y, i), begin(s, i), end(s, i), s.keys, a_.scale, lse},
        run_);
  }

  template <class T>
  static T* at(const View<T, 4>& x, Index b, Index t, Index h) {
    return x.data + b * x.stride(0) + t * x.stride(1) + h * x.stride(2);
  }

 private:
  // Every block of positions is cut into cells of kQueries from its beginning; without blocks the
  // call is. The number of the cell of query t:
  Index cell(Index t) const {
    const Index block = a_.sight.block, position = a_.sight.first_query + t;
    return block == 0 ? t / kQueries
                      : position / block * cells_per_block() + position % block / kQueries;
  }
  Index cells_per_block() const { return (a_.sight.block + kQueries - 1) / kQueries; }
  // The first query of step `number`, which is a cell or the part of one that the call has.
  Index first_query(Index number) const {
    const Index block = a_.sight.block;
    if (block == 0) return number * kQueries;
    const Index c = cell(0) + number;
    const Index position = c / cells_per_block() * block + c % cells_per_block() * kQueries;
    return std::max<Index>(0, position - a_.sight.first_query);
  }

  void add_bias(const Step& s, const float* bias, float* out) const {
    for (Index i = 0; i < s.queries; ++i) {
      const float* q = s.q + i * a_.q_BTHC.stride(1);
      for (Index c = 0; c < width_; ++c) out[i * width_ + c] = q[c] + (bias ? bias[c] : 0);
    }
  }

  const Attention& a_;
  const Run& run_;
  const Variant<Gemm>& gemm_;
  const Variant<SoftmaxRow>& softmax_;
  const Variant<CombineRows>& combine_;
  Index width_;
};

void add_columns(const float* x, Index rows, Index columns, float* sums) {
  for (Index i = 0; i < rows; ++i)
    for (Index c = 0; c < columns; ++c) sums[c] += x[i * columns + c];
}

}  // namespace

void attention(const Attention& args, const Run& run) {
  check(args);
  const Index batch = args.q_BTHC.size(0), queries = args.q_BTHC.size(1),
              heads = args.q_BTHC.size(2);
  const Index width = args.q_BTHC.size(3);
  const Plan plan(args, run);
  const Index steps = plan.num_steps();
  parallel_for(*run.executor, batch * heads * steps, [&](Index item, int) {
    const Index b = item / (heads * steps), h = item / steps % heads;
    Scratch scratch;
    const Step s = plan.start(b, h, item % steps, scratch);
    plan.scores(s, h);
    for (Index i = 0; i < s.queries; ++i) {
      float unused;
      plan.softmax(s, i,
                   args.lse_BHT ? args.lse_BHT + (b * heads + h) * queries + s.first + i : &unused);
    }
    if (s.queries == 1)
      plan.weighted_sum(s, Plan::at(args.o_BTHC, b, s.first, h), scratch);
    else
      plan.product(s.queries, width, s.keys, {s.x, s.keys, Rows::outer},
                   {s.v, args.v_BSHC.stride(1), Rows::inner}, Plan::at(args.o_BTHC, b, s.first, h),
                   args.o_BTHC.stride(1), false);
  });
}

namespace {

// Backward of a few queries of one sequence and head. Gradients of k, v, r and of the biases are
// added to.
void step_backward(const AttentionBackward& args, const Plan& plan, const Run& run, Index b,
                   Index h, Index number) {
  const Attention& a = args.forward;
  const Index queries = a.q_BTHC.size(1), heads = a.q_BTHC.size(2), width = a.q_BTHC.size(3);
  Scratch scratch;
  const Step s = plan.start(b, h, number, scratch);
  float* dx = scratch.take<float>(s.queries * s.keys);
  plan.scores(s, h);
  const float* out_grad = Plan::at(args.do_BTHC, b, s.first, h);
  const Operand do_outer{out_grad, args.do_BTHC.stride(1), Rows::outer};
  plan.product(s.queries, s.keys, width, do_outer, {s.v, a.v_BSHC.stride(1), Rows::outer}, dx,
               s.keys, false);

  const auto& softmax_backward = select(softmax_backward_row_variants(), run);
  float dscale = 0;
  for (Index i = 0; i < s.queries; ++i)
    softmax_backward.call({s.x + i * s.keys, plan.shifted(s, s.y, i), dx + i * s.keys,
                           plan.begin(s, i), plan.end(s, i), s.keys, a.scale,
                           a.lse_BHT[(b * heads + h) * queries + s.first + i], &dscale},
                          run);
  if (args.dscale_BH) args.dscale_BH[b * heads + h] += dscale;

  const Index key = s.seen - a.sight.first_key;
  const Operand do_inner{out_grad, args.do_BTHC.stride(1), Rows::inner};
  plan.product(s.keys, width, s.queries, {s.x, s.keys, Rows::inner}, do_inner,
               Plan::at(args.dv_BSHC, b, key, h), args.dv_BSHC.stride(1), true);
  plan.product(s.keys, width, s.queries, {dx, s.keys, Rows::inner}, {s.qu, width, Rows::inner},
               Plan::at(args.dk_BSHC, b, key, h), args.dk_BSHC.stride(1), true);
  float* dq = scratch.take<float>(s.queries * width);
  plan.product(s.queries, width, s.keys, {dx, s.keys, Rows::outer},
               {s.k, a.k_BSHC.stride(1), Rows::inner}, dq, width, false);
  if (s.r) {
    add_columns(dq, s.queries, width, args.du_BHC + (b * heads + h) * width);
    // The gradient of y is that of x shifted back; what falls outside a row's sight is 0.
    std::fill_n(s.y, s.queries * s.keys, 0.0f);
    for (Index i = 0; i < s.queries; ++i)
      std::copy(dx + i * s.keys + plan.begin(s, i), dx + i * s.keys + plan.end(s, i),
                plan.shifted(s, s.y, i) + plan.begin(s, i));
    const Index distances = a.r_DHC.size(0);
    float* dr = args.dr_BDHC + ((b * distances + distances - s.keys) * heads + h) * width;
    plan.product(s.keys, width, s.queries, {s.y, s.keys, Rows::inner}, {s.qw, width, Rows::inner},
                 dr, heads * width, true);
    float* dqw = scratch.take<float>(s.queries * width);
    plan.product(s.queries, width, s.keys, {s.y, s.keys, Rows::outer},
                 {s.r, a.r_DHC.stride(0), Rows::inner}, dqw, width, false);
    add_columns(dqw, s.queries, width, args.dw_BHC + (b * heads + h) * width);
    for (Index i = 0; i < s.queries * width; ++i) dq[i] += dqw[i];
  }
  for (Index i = 0; i < s.queries; ++i)
    std::copy_n(dq + i * width, width, Plan::at(args.dq_BTHC, b, s.first + i, h));
}

void zero_head(const View<float, 4>& x, Index b, Index h) {
  for (Index t = 0; t < x.size(1); ++t) std::fill_n(Plan::at(x, b, t, h), x.size(3), 0.0f);
}

}  // namespace

void attention_backward(const AttentionBackward& args, const Run& run) {
  const Attention& a = args.forward;
  check(a);
  MOTE_CHECK(a.lse_BHT || a.q_BTHC.empty(), "attention_backward: forward kept no log-sum-exp");
  const Index heads = a.q_BTHC.size(2), width = a.q_BTHC.size(3), distances = a.r_DHC.size(0);
  const Plan plan(a, run);
  // One thread has all queries of a sequence and head, whose keys they share.
  parallel_for(*run.executor, a.q_BTHC.size(0) * heads, [&](Index item, int) {
    const Index b = item / heads, h = item % heads;
    zero_head(args.dk_BSHC, b, h);
    zero_head(args.dv_BSHC, b, h);
    if (a.r_DHC.data) {
      for (Index d = 0; d < distances; ++d)
        std::fill_n(args.dr_BDHC + ((b * distances + d) * heads + h) * width, width, 0.0f);
      std::fill_n(args.du_BHC + item * width, width, 0.0f);
      std::fill_n(args.dw_BHC + item * width, width, 0.0f);
    }
    if (args.dscale_BH) args.dscale_BH[item] = 0;
    for (Index number = 0; number < plan.num_steps(); ++number)
      step_backward(args, plan, run, b, h, number);
  });
}

void attention_reference(const Attention& args) {
  const Index width = args.q_BTHC.size(3);
  const auto dot = [&](const float* q, const float* bias, const float* key) {
    double sum = 0;
    for (Index c = 0; c < width; ++c)
      sum += (static_cast<double>(q[c]) + (bias ? static_cast<double>(bias[c]) : 0)) *
             static_cast<double>(key[c]);
    return sum;
  };
  const AttentionSight& sight = args.sight;
  std::vector<double> logits;
  for (Index b = 0; b < args.q_BTHC.size(0); ++b)
    for (Index h = 0; h < args.q_BTHC.size(2); ++h)
      for (Index t = 0; t < args.q_BTHC.size(1); ++t) {
        const Index i = sight.first_query + t, first = sight.first_seen(i);
        const float* q = Plan::at(args.q_BTHC, b, t, h);
        logits.clear();
        for (Index j = first; j <= i; ++j) {
          double l = dot(q, args.u_HC ? args.u_HC + h * width : nullptr,
                         Plan::at(args.k_BSHC, b, j - sight.first_key, h));
          if (args.r_DHC.data)
            l += dot(q, args.w_HC ? args.w_HC + h * width : nullptr,
                     &args.r_DHC(args.r_DHC.size(0) - 1 - (i - j), h, 0));
          logits.push_back(static_cast<double>(args.scale) * l);
        }
        const double largest = *std::max_element(logits.begin(), logits.end());
        double sum = 0;
        for (double l : logits) sum += std::exp(l - largest);
        if (args.lse_BHT)
          args.lse_BHT[(b * args.q_BTHC.size(2) + h) * args.q_BTHC.size(1) + t] =
              static_cast<float>(largest + std::log(sum));
        for (Index c = 0; c < width; ++c) {
          double o = 0;
          for (Index j = first; j <= i; ++j)
            o += std::exp(logits[static_cast<std::size_t>(j - first)] - largest) / sum *
                 static_cast<double>(Plan::at(args.v_BSHC, b, j - sight.first_key, h)[c]);
          Plan::at(args.o_BTHC, b, t, h)[c] = static_cast<float>(o);
        }
      }
}

}  // namespace mote::kernels
