#include "model/ops/attention.h"

#include "base/check.h"
#include "base/scratch.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// x [B, S, H * C] head by head, of the first `positions`.
template <class T>
kernels::View<T, 4> in_heads(const Tensor& x, std::int64_t heads, std::int64_t positions) {
  const std::int64_t width = x.size(2) / heads;
  return {const_cast<std::remove_const_t<T>*>(x.const_data_ptr<std::remove_const_t<T>>()),
          {x.size(0), positions, heads, width},
          {x.stride(0), x.stride(1), width, 1}};
}

struct Shape {
  std::int64_t heads, keys;
};

kernels::Attention arguments(const Tensor& q, const Tensor& k, const Tensor& v, const Shape& shape,
                             const RelativeTerms& relative, const Tensor& scale,
                             const kernels::AttentionSight& sight) {
  kernels::Attention args;
  args.q_BTHC = in_heads<const float>(q, shape.heads, q.size(1));
  args.k_BSHC = in_heads<const float>(k, shape.heads, shape.keys);
  args.v_BSHC = in_heads<const float>(v, shape.heads, shape.keys);
  if (relative.r_DHC.defined()) {
    args.r_DHC = view_of<const float, 3>(relative.r_DHC);
    args.u_HC = relative.u_HC.const_data_ptr<float>();
    args.w_HC = relative.w_HC.const_data_ptr<float>();
  }
  args.scale = *scale.const_data_ptr<float>();
  args.sight = sight;
  return args;
}

RelativeTerms in_rows(const RelativeTerms& relative) {
  if (!relative.r_DHC.defined()) return {};
  return {unit_stride(relative.r_DHC), relative.u_HC.contiguous(), relative.w_HC.contiguous()};
}

struct AttentionOp : torch::autograd::Function<AttentionOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& q_any, const Tensor& k_any,
                        const Tensor& v_any, std::int64_t heads, std::int64_t keys,
                        const std::optional<Tensor>& r_any, const std::optional<Tensor>& u_any,
                        const std::optional<Tensor>& w_any, const Tensor& scale,
                        const kernels::AttentionSight& sight, const Pass& pass) {
    const Tensor q = unit_stride(q_any), k = unit_stride(k_any), v = unit_stride(v_any);
    const RelativeTerms relative =
        in_rows({r_any.value_or(Tensor()), u_any.value_or(Tensor()), w_any.value_or(Tensor())});
    kernels::Attention args = arguments(q, k, v, {heads, keys}, relative, scale, sight);
    Tensor o = torch::empty(q.sizes(), torch::kFloat32),
           lse = torch::empty({q.size(0), heads, q.size(1)}, torch::kFloat32);
    args.o_BTHC = in_heads<float>(o, heads, q.size(1));
    args.lse_BHT = lse.mutable_data_ptr<float>();
    kernels::attention(args, pass.run);
    saved->save_for_backward({q, k, v, relative.r_DHC, relative.u_HC, relative.w_HC, scale, lse});
    saved->saved_data["heads"] = heads;
    saved->saved_data["keys"] = keys;
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
    const Shape shape{saved->saved_data["heads"].toInt(), saved->saved_data["keys"].toInt()};
    kernels::AttentionBackward args;
    args.forward = arguments(q, k, v, shape, relative, t[6], sight);
    args.forward.lse_BHT = t[7].mutable_data_ptr<float>();
    const Tensor out_grad = unit_stride(grads[0]);
    args.do_BTHC = in_heads<const float>(out_grad, shape.heads, q.size(1));
    Tensor dq = torch::empty(q.sizes(), q.options()), dk = torch::empty(k.sizes(), k.options()),
           dv = torch::empty(v.sizes(), v.options());
    args.dq_BTHC = in_heads<float>(dq, shape.heads, q.size(1));
    args.dk_BSHC = in_heads<float>(dk, shape.heads, shape.keys);
    args.dv_BSHC = in_heads<float>(dv, shape.heads, shape.keys);
    const std::int64_t batch = q.size(0), heads = shape.heads, width = q.size(2) / heads;
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
            Tensor(),
            Tensor(),
            over_batch(dr),
            over_batch(du),
            over_batch(dw),
            dscale.sum().reshape(t[6].sizes()),
            Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor attention(const Tensor& q_BTI, const Tensor& k_BSI, const Tensor& v_BSI, std::int64_t heads,
                 std::int64_t keys, const RelativeTerms& relative, const Tensor& scale,
                 const kernels::AttentionSight& sight, const Pass& pass) {
  const Timed timed(pass, "attention");
  if (recording(
          {&q_BTI, &k_BSI, &v_BSI, &relative.r_DHC, &relative.u_HC, &relative.w_HC, &scale})) {
    MOTE_CHECK(keys == k_BSI.size(1), "attention: ", keys, " keys count, k has ", k_BSI.size(1),
               ": with gradients all must");
    return AttentionOp::apply(q_BTI, k_BSI, v_BSI, heads, keys, optional(relative.r_DHC),
                              optional(relative.u_HC), optional(relative.w_HC), scale, sight, pass);
  }
  const Tensor q = unit_stride(q_BTI), k = unit_stride(k_BSI), v = unit_stride(v_BSI);
  const RelativeTerms rows = in_rows(relative);
  kernels::Attention args = arguments(q, k, v, {heads, keys}, rows, scale, sight);
  Tensor o = output(q.sizes(), pass);
  args.o_BTHC = in_heads<float>(o, heads, q.size(1));
  Scratch scratch;
  args.lse_BHT = scratch.take<float>(q.size(0) * heads * q.size(1));
  kernels::attention(args, pass.run);
  return o;
}

}  // namespace mote::model::ops
