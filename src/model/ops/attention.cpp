#include "model/ops/attention.h"

#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::Attention arguments(const Tensor& q, const Tensor& k, const Tensor& v,
                             const RelativeTerms& relative, const Tensor& scale,
                             const kernels::AttentionSight& sight) {
  kernels::Attention args;
  args.q_BTHC = view_of<const float, 4>(q);
  args.k_BSHC = view_of<const float, 4>(k);
  args.v_BSHC = view_of<const float, 4>(v);
  if (relative.r_DHC.defined()) {
    args.r_DHC = view_of<const float, 3>(relative.r_DHC);
    args.u_HC = relative.u_HC.const_data_ptr<float>();
    args.w_HC = relative.w_HC.const_data_ptr<float>();
  }
  args.scale = *scale.const_data_ptr<float>();
  args.sight = sight;
  return args;
}

struct Attended {
  Tensor o_BTHC, lse_BHT;
};

// All with unit stride along the last axis.
Attended attended(const Tensor& q, const Tensor& k, const Tensor& v, const RelativeTerms& relative,
                  const Tensor& scale, const kernels::AttentionSight& sight, const Pass& pass) {
  const auto options = q.options().requires_grad(false);
  Attended made{torch::empty(q.sizes(), options),
                torch::empty({q.size(0), q.size(2), q.size(1)}, options)};
  kernels::Attention args = arguments(q, k, v, relative, scale, sight);
  args.o_BTHC = view_of<float, 4>(made.o_BTHC);
  args.lse_BHT = made.lse_BHT.mutable_data_ptr<float>();
  kernels::attention(args, pass.run);
  return made;
}

RelativeTerms in_rows(const RelativeTerms& relative) {
  if (!relative.r_DHC.defined()) return {};
  return {unit_stride(relative.r_DHC), relative.u_HC.contiguous(), relative.w_HC.contiguous()};
}

struct AttentionOp : torch::autograd::Function<AttentionOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& q_any, const Tensor& k_any,
                        const Tensor& v_any, const std::optional<Tensor>& r_any,
                        const std::optional<Tensor>& u_any, const std::optional<Tensor>& w_any,
                        const Tensor& scale, const kernels::AttentionSight& sight,
                        const Pass& pass) {
    const Tensor q = unit_stride(q_any), k = unit_stride(k_any), v = unit_stride(v_any);
    const RelativeTerms relative =
        in_rows({r_any.value_or(Tensor()), u_any.value_or(Tensor()), w_any.value_or(Tensor())});
    const auto [o, lse] = attended(q, k, v, relative, scale, sight, pass);
    saved->save_for_backward({q, k, v, relative.r_DHC, relative.u_HC, relative.w_HC, scale, lse});
    saved->saved_data["first_query"] = sight.first_query;
    saved->saved_data["first_key"] = sight.first_key;
    saved->saved_data["block"] = sight.block;
    saved->saved_data["memory"] = sight.memory;
    remember(saved, pass.run);
    return o;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto t = saved->get_saved_variables();
    const Tensor &q = t[0], &k = t[1], &v = t[2];
    const RelativeTerms relative{t[3], t[4], t[5]};
    const kernels::AttentionSight sight{
        saved->saved_data["first_query"].toInt(), saved->saved_data["first_key"].toInt(),
        saved->saved_data["block"].toInt(), saved->saved_data["memory"].toInt()};
    kernels::AttentionBackward args;
    args.forward = arguments(q, k, v, relative, t[6], sight);
    args.forward.lse_BHT = t[7].mutable_data_ptr<float>();
    const Tensor out_grad = unit_stride(grads[0]);
    args.do_BTHC = view_of<const float, 4>(out_grad);
    Tensor dq = torch::empty(q.sizes(), q.options()), dk = torch::empty(k.sizes(), k.options()),
           dv = torch::empty(v.sizes(), v.options());
    args.dq_BTHC = view_of<float, 4>(dq);
    args.dk_BSHC = view_of<float, 4>(dk);
    args.dv_BSHC = view_of<float, 4>(dv);
    const std::int64_t batch = q.size(0), heads = q.size(2), width = q.size(3);
    Tensor dr, du, dw;
    Tensor dscale = torch::empty({batch, heads}, q.options());
    args.dscale_BH = dscale.mutable_data_ptr<float>();
    if (relative.r_DHC.defined()) {
      dr = torch::empty({batch, relative.r_DHC.size(0), heads, width}, q.options());
      du = torch::empty({batch, heads, width}, q.options());
      dw = torch::empty({batch, heads, width}, q.options());
      args.dr_BDHC = dr.mutable_data_ptr<float>();
      args.du_BHC = du.mutable_data_ptr<float>();
      args.dw_BHC = dw.mutable_data_ptr<float>();
    }
    kernels::attention_backward(args, recall_run(saved));
    const auto over_batch = [](const Tensor& x) { return x.defined() ? x.sum(0) : x; };
    return {dq,
            dk,
            dv,
            over_batch(dr),
            over_batch(du),
            over_batch(dw),
            dscale.sum().reshape(t[6].sizes()),
            Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor attention(const Tensor& q_BTHC, const Tensor& k_BSHC, const Tensor& v_BSHC,
                 const RelativeTerms& relative, const Tensor& scale,
                 const kernels::AttentionSight& sight, const Pass& pass) {
  const Timed timed(pass, "attention");
  if (!recording(
          {&q_BTHC, &k_BSHC, &v_BSHC, &relative.r_DHC, &relative.u_HC, &relative.w_HC, &scale}))
    return attended(unit_stride(q_BTHC), unit_stride(k_BSHC), unit_stride(v_BSHC),
                    in_rows(relative), scale, sight, pass)
        .o_BTHC;
  return AttentionOp::apply(q_BTHC, k_BSHC, v_BSHC, optional(relative.r_DHC),
                            optional(relative.u_HC), optional(relative.w_HC), scale, sight, pass);
}

}  // namespace mote::model::ops
