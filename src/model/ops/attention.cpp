#include "model/ops/attention.h"

#include "base/check.h"
#include "base/scratch.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Inputs {
  Tensor q, k, v, scale;
  AttentionShape shape;
  AttentionTerms terms;
  kernels::AttentionSight sight;
};

const float* data_or_null(const Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

// x [B, S, heads * C] head by head, of the first `positions`.
template <class T>
kernels::View<T, 4> in_heads(const Tensor& x, std::int64_t heads, std::int64_t positions) {
  const std::int64_t width = x.size(2) / heads;
  return {const_cast<std::remove_const_t<T>*>(x.const_data_ptr<std::remove_const_t<T>>()),
          {x.size(0), positions, heads, width},
          {x.stride(0), x.stride(1), width, 1}};
}

// What every sequence's queries see is in `scratch`.
kernels::Attention arguments(const Inputs& in, const Tensor& o, float* lse, Scratch& scratch) {
  const auto [heads, key_heads, keys] = in.shape;
  const std::int64_t batch = in.q.size(0), queries = in.q.size(1);
  kernels::Attention args;
  args.q_BTHC = in_heads<const float>(in.q, heads, queries);
  args.k_BSGC = in_heads<const float>(in.k, key_heads, keys);
  args.v_BSGE = in_heads<const float>(in.v, key_heads, keys);
  auto* sees = scratch.take<kernels::KeyRange>(queries);
  kernels::see(in.sight, queries, keys, sees);
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
  args.o_BTHE = in_heads<float>(o, heads, queries);
  args.lse_BHT = lse;
  return args;
}

// Layouts that the kernel reads.
Inputs in_rows(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionShape& shape,
               const AttentionTerms& terms, const Tensor& scale,
               const kernels::AttentionSight& sight) {
  const auto contiguous = [](const Tensor& x) { return x.defined() ? x.contiguous() : x; };
  Inputs in{unit_stride(q), unit_stride(k), unit_stride(v), scale, shape, terms, sight};
  AttentionTerms& t = in.terms;
  if (t.r_DHC.defined()) t.r_DHC = unit_stride(t.r_DHC);
  if (t.bias_HD.defined()) t.bias_HD = unit_stride(t.bias_HD);
  for (Tensor* each : {&t.u_HC, &t.w_HC, &t.sink_H, &t.lengths_B}) *each = contiguous(*each);
  return in;
}

// [B, T, H * E]
at::DimVector sizes_of_output(const Inputs& in) {
  return sizes_with(in.q, in.shape.heads * (in.v.size(2) / in.shape.key_heads));
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
                        const AttentionShape& shape, const kernels::AttentionSight& sight,
                        const Pass& pass) {
    const auto or_none = [](const MaybeTensor& x) { return x.value_or(Tensor()); };
    const Inputs in = in_rows(q, k, v, shape,
                              {or_none(r), or_none(u), or_none(w), or_none(bias), bias_farthest,
                               or_none(sink), or_none(lengths)},
                              scale, sight);
    Tensor o = torch::empty(sizes_of_output(in), torch::kFloat32),
           lse = torch::empty({q.size(0), shape.heads, q.size(1)}, torch::kFloat32);
    Scratch scratch;
    kernels::attention(arguments(in, o, lse.mutable_data_ptr<float>(), scratch), pass.run);
    const AttentionTerms& t = in.terms;
    saved->save_for_backward({in.q, in.k, in.v, t.r_DHC, t.u_HC, t.w_HC, t.bias_HD, t.sink_H,
                              t.lengths_B, scale, o, lse});
    saved->saved_data["bias_farthest"] = bias_farthest;
    saved->saved_data["heads"] = shape.heads;
    saved->saved_data["key_heads"] = shape.key_heads;
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
        {saved->saved_data["heads"].toInt(), saved->saved_data["key_heads"].toInt(), t[1].size(1)},
        {t[3], t[4], t[5], t[6], saved->saved_data["bias_farthest"].toInt(), t[7], t[8]},
        sight_of(saved->saved_data["sight"].toIntVector())};
    Scratch scratch;
    kernels::AttentionBackward args;
    args.forward = arguments(in, t[10], t[11].mutable_data_ptr<float>(), scratch);
    const Tensor out_grad = unit_stride(grads[0]);
    args.do_BTHE = in_heads<const float>(out_grad, in.shape.heads, in.q.size(1));
    Tensor dq = torch::empty(in.q.sizes(), in.q.options()),
           dk = torch::empty(in.k.sizes(), in.k.options()),
           dv = torch::empty(in.v.sizes(), in.v.options());
    args.dq_BTHC = in_heads<float>(dq, in.shape.heads, in.q.size(1));
    args.dk_BSGC = in_heads<float>(dk, in.shape.key_heads, in.k.size(1));
    args.dv_BSGE = in_heads<float>(dv, in.shape.key_heads, in.k.size(1));
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
    Tensor dscale = torch::empty({in.q.size(0), in.shape.heads}, in.q.options());
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
            Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor attention(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI,
                 const AttentionShape& shape, const AttentionTerms& terms, const Tensor& scale,
                 const kernels::AttentionSight& sight, const Pass& pass) {
  const Timed timed(pass, "attention");
  MOTE_CHECK(q_BTI.size(2) % shape.heads == 0 && k_BSI.size(2) % shape.key_heads == 0 &&
                 v_BSI.size(2) % shape.key_heads == 0,
             "attention: rows of q have ", q_BTI.size(2), " columns for ", shape.heads,
             " heads, of k and v ", k_BSI.size(2), " and ", v_BSI.size(2), " for ",
             shape.key_heads);
  MOTE_CHECK(shape.keys <= k_BSI.size(1) && shape.keys <= v_BSI.size(1), "attention: ", shape.keys,
             " keys count, k has ", k_BSI.size(1), ", v ", v_BSI.size(1));
  if (recording({&q_BTI, &k_BSI, &v_BSI, &terms.r_DHC, &terms.u_HC, &terms.w_HC, &terms.bias_HD,
                 &terms.sink_H, &scale})) {
    MOTE_CHECK(shape.keys == k_BSI.size(1), "attention: ", shape.keys, " keys count, k has ",
               k_BSI.size(1), ": with gradients all must");
    return AttentionOp::apply(q_BTI, k_BSI, v_BSI, optional(terms.r_DHC), optional(terms.u_HC),
                              optional(terms.w_HC), optional(terms.bias_HD), optional(terms.sink_H),
                              optional(terms.lengths_B), scale, terms.bias_farthest, shape, sight,
                              pass);
  }
  const Inputs in = in_rows(q_BTI, k_BSI, v_BSI, shape, terms, scale, sight);
  Tensor o = output(sizes_of_output(in), pass);
  Scratch scratch;
  kernels::attention(arguments(in, o, nullptr, scratch), pass.run);
  return o;
}

}  // namespace mote::model::ops
