#include "model/ops/layer_norm.h"

#include "kernels/sequence/norm/norm.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Normed {
  Tensor y, mean_N, rstd_N;
};

Normed normed(const Tensor& x, const Tensor& weight, const Tensor& bias, const Pass& pass) {
  const Tensor x_ND = as_rows(x);
  const auto options = x.options().requires_grad(false);
  Normed made{torch::empty(x.sizes(), options), torch::empty({x_ND.size(0)}, options),
              torch::empty({x_ND.size(0)}, options)};
  kernels::LayerNorm args;
  args.x_ND = view_of<const float, 2>(x_ND);
  args.weight_D = weight.const_data_ptr<float>();
  args.bias_D = bias.const_data_ptr<float>();
  args.y_ND = kernels::view(made.y.mutable_data_ptr<float>(), x_ND.size(0), x_ND.size(1));
  args.mean_N = made.mean_N.mutable_data_ptr<float>();
  args.rstd_N = made.rstd_N.mutable_data_ptr<float>();
  kernels::layer_norm(args, pass.run);
  return made;
}

struct LayerNormOp : torch::autograd::Function<LayerNormOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, const Pass& pass) {
    const Normed made = normed(x, weight, bias, pass);
    saved->save_for_backward({x, weight, made.mean_N, made.rstd_N});
    remember(saved, pass.run);
    return made.y;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto t = saved->get_saved_variables();
    const Tensor x_ND = as_rows(t[0]), dy_ND = as_rows(grads[0]);
    const std::int64_t columns = x_ND.size(1);
    Tensor dx = torch::empty(t[0].sizes(), x_ND.options());
    const Tensor dx_ND = dx.view({-1, columns});
    Tensor dweight = torch::empty({columns}, x_ND.options()),
           dbias = torch::empty({columns}, x_ND.options());
    kernels::LayerNormBackward args;
    args.x_ND = view_of<const float, 2>(x_ND);
    args.dy_ND = view_of<const float, 2>(dy_ND);
    args.weight_D = t[1].const_data_ptr<float>();
    args.mean_N = t[2].const_data_ptr<float>();
    args.rstd_N = t[3].const_data_ptr<float>();
    args.dx_ND = view_of<float, 2>(dx_ND);
    args.dweight_D = dweight.mutable_data_ptr<float>();
    args.dbias_D = dbias.mutable_data_ptr<float>();
    kernels::layer_norm_backward(args, recall_run(saved));
    return {dx, dweight, dbias, Tensor()};
  }
};

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight_D, const Tensor& bias_D, const Pass& pass) {
  const Timed timed(pass, "layer_norm");
  if (!recording({&x, &weight_D, &bias_D})) return normed(x, weight_D, bias_D, pass).y;
  return LayerNormOp::apply(x, weight_D, bias_D, pass);
}

}  // namespace mote::model::ops
