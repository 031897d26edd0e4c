#include "model/ops/attention.h"

#include "base/scratch.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Inputs {
  Tensor q, k, v, scale;
  AttentionTerms terms;
  kernels::AttentionSight sight;
};

const float* data_or_null(const Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

// What every sequence's queries see is in `scratch`.
kernels::Attention arguments(const Inputs& in, const Tensor& o, const Tensor& lse,
                             Scratch& scratch) {
  const std::int64_t batch = in.q.size(0), queries = in.q.size(1);
  kernels::Attention args;
  args.q_BTHC = view_of<const float, 4>(in.q);
  args.k_BSGC = view_of<const float, 4>(in.k);
  args.v_BSGE = view_of<const float, 4>(in.v);
  auto* sees = scratch.take<kernels::KeyRange>(queries);
  kernels::see(in.sight, queries, in.k.size(1), sees);
  args.sees_BT = {sees, {batch, queries}, {0, 1}};
  auto* at = scratch.take<std::int32_t>(1);
  *at = static_cast<std::int32_t>(in.sight.first_query - in.sight.first_key);
  args.at_B = {at, {batch}, {0}};
  const AttentionTerms& terms = in.terms;
  if (terms.lengths_B.defined()) args.lengths_B = terms.lengths_B.const_data_ptr<std::int32_t>();
  if (terms.r_DHC.defined()) args.r_DHC = view_of<const float, 3>(terms.r_DHC);
  args.u_HC = data_or_null(terms.u_HC);
  args.w_HC = data_or_null(terms.w_HC);
  if (terms.bias_HD.defined()) args.bias_HD = view_of<const float, 2>(terms.bias_HD);
  args.bias_farthest = terms.bias_farthest;
  args.sink_H = data_or_null(terms.sink_H);
  args.scale = *in.scale.const_data_ptr<float>();
  args.o_BTHE = view_of<float, 4>(o);
  args.lse_BHT = lse.mutable_data_ptr<float>();
  return args;
}

// Layouts that the kernel reads.
Inputs in_rows(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionTerms& terms,
               const Tensor& scale, const kernels::AttentionSight& sight) {
  const auto contiguous = [](const Tensor& x) { return x.defined() ? x.contiguous() : x; };
  Inputs in{unit_stride(q), unit_stride(k), unit_stride(v), scale, terms, sight};
  AttentionTerms& t = in.terms;
  if (t.r_DHC.defined()) t.r_DHC = unit_stride(t.r_DHC);
  if (t.bias_HD.defined()) t.bias_HD = unit_stride(t.bias_HD);
  for (Tensor* each : {&t.u_HC, &t.w_HC, &t.sink_H, &t.lengths_B}) *each = contiguous(*each);
  return in;
}

struct Attended {
  Tensor o_BTHE, lse_BHT;
};

Attended attended(const Inputs& in, const Pass& pass) {
  const auto options = in.q.options().requires_grad(false);
  const std::int64_t batch = in.q.size(0), queries = in.q.size(1), heads = in.q.size(2);
  Attended made{torch::empty({batch, queries, heads, in.v.size(3)}, options),
                torch::empty({batch, heads, queries}, options)};
  Scratch scratch;
  kernels::attention(arguments(in, made.o_BTHE, made.lse_BHT, scratch), pass.run);
  return made;
}

std::vector<std::int64_t> numbers(const kernels::AttentionSight& s) {
  return {s.first_query, s.first_key, s.block, s.memory, s.window, s.ahead};
}
kernels::AttentionSight sight_of(const std::vector<std::int64_t>& n) {
  return {n[0], n[1], n[2], n[3], n[4], n[5] != 0};
}

using MaybeTensor = std::optional<Tensor>;

struct AttentionOp : torch::autograd::Function<AttentionOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& q, const Tensor& k, const Tensor& v,
                        const MaybeTensor& r, const MaybeTensor& u, const MaybeTensor& w,
                        const MaybeTensor& bias, const MaybeTensor& sink,
                        const MaybeTensor& lengths, const Tensor& scale, std::int64_t bias_farthest,
                        const kernels::AttentionSight& sight, const Pass& pass) {
    const auto or_none = [](const MaybeTensor& x) { return x.value_or(Tensor()); };
    const Inputs in = in_rows(q, k, v,
                              {or_none(r), or_none(u), or_none(w), or_none(bias), bias_farthest,
                               or_none(sink), or_none(lengths)},
                              scale, sight);
    const auto [o, lse] = attended(in, pass);
    const AttentionTerms& t = in.terms;
    saved->save_for_backward({in.q, in.k, in.v, t.r_DHC, t.u_HC, t.w_HC, t.bias_HD, t.sink_H,
                              t.lengths_B, scale, o, lse});
    saved->saved_data["bias_farthest"] = bias_farthest;
    saved->saved_data["sight"] = numbers(sight);
    remember(saved, pass.run);
    return o;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto t = saved->get_saved_variables();
    const Inputs in{
        t[0],
        t[1],
        t[2],
        t[9],
        {t[3], t[4], t[5], t[6], saved->saved_data["bias_farthest"].toInt(), t[7], t[8]},
        sight_of(saved->saved_data["sight"].toIntVector())};
    Scratch scratch;
    kernels::AttentionBackward args;
    args.forward = arguments(in, t[10], t[11], scratch);
    const Tensor out_grad = unit_stride(grads[0]);
    args.do_BTHE = view_of<const float, 4>(out_grad);
    Tensor dq = torch::empty(in.q.sizes(), in.q.options()),
           dk = torch::empty(in.k.sizes(), in.k.options()),
           dv = torch::empty(in.v.sizes(), in.v.options());
    args.dq_BTHC = view_of<float, 4>(dq);
    args.dk_BSGC = view_of<float, 4>(dk);
    args.dv_BSGE = view_of<float, 4>(dv);
    // Partial gradients of what all sequences share: [B, ...], or nothing.
    const auto partials = [&](const Tensor& of, float** data) {
      if (!of.defined()) return Tensor();
      std::vector<std::int64_t> shape = of.sizes().vec();
      shape.insert(shape.begin(), in.q.size(0));
      Tensor made = torch::empty(shape, in.q.options());
      *data = made.mutable_data_ptr<float>();
      return made;
    };
    const Tensor dr = partials(in.terms.r_DHC, &args.dr_BDHC),
                 du = partials(in.terms.u_HC, &args.du_BHC),
                 dw = partials(in.terms.w_HC, &args.dw_BHC),
                 dbias = partials(in.terms.bias_HD, &args.dbias_BHD),
                 dsink = partials(in.terms.sink_H, &args.dsink_BH);
    Tensor dscale = torch::empty({in.q.size(0), in.q.size(2)}, in.q.options());
    args.dscale_BH = dscale.mutable_data_ptr<float>();
    kernels::attention_backward(args, recall_run(saved));
    const auto over_batch = [](const Tensor& x) { return x.defined() ? x.sum(0) : x; };
    return {dq,
            dk,
            dv,
            over_batch(dr),
            over_batch(du),
            over_batch(dw),
            over_batch(dbias),
            over_batch(dsink),
            Tensor(),
            dscale.sum().reshape(in.scale.sizes()),
            Tensor(),
            Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor attention(const Tensor& q_BTHC, const Tensor& k_BSGC, const Tensor& v_BSGE,
                 const AttentionTerms& terms, const Tensor& scale,
                 const kernels::AttentionSight& sight, const Pass& pass) {
  const Timed timed(pass, "attention");
  if (!recording({&q_BTHC, &k_BSGC, &v_BSGE, &terms.r_DHC, &terms.u_HC, &terms.w_HC, &terms.bias_HD,
                  &terms.sink_H, &scale}))
    return attended(in_rows(q_BTHC, k_BSGC, v_BSGE, terms, scale, sight), pass).o_BTHE;
  return AttentionOp::apply(q_BTHC, k_BSGC, v_BSGE, optional(terms.r_DHC), optional(terms.u_HC),
                            optional(terms.w_HC), optional(terms.bias_HD), optional(terms.sink_H),
                            optional(terms.lengths_B), scale, terms.bias_farthest, sight, pass);
}

}  // namespace mote::model::ops
