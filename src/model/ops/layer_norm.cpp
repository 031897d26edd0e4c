#include "model/ops/layer_norm.h"

#include "base/scratch.h"
#include "kernels/sequence/norm/norm.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void norm(const Tensor& x_any, const Tensor& weight, const Tensor& bias, const NormOptions& options,
          Tensor& y, float* mean_N, float* rstd_N, const Pass& pass) {
  const Tensor x = even_rows(x_any);
  kernels::LayerNorm args;
  args.x_ND = rows_of<const float>(x);
  args.weight_D = weight.const_data_ptr<float>();
  if (bias.defined()) args.bias_D = bias.const_data_ptr<float>();
  args.eps = static_cast<float>(options.epsilon);
  args.centred = options.centred;
  args.weight_offset = static_cast<float>(options.weight_offset);
  args.y_ND = kernels::view(y.mutable_data_ptr<float>(), args.x_ND.size(0), args.x_ND.size(1));
  args.mean_N = mean_N;
  args.rstd_N = rstd_N;
  kernels::layer_norm(args, pass.run);
}

struct LayerNormOp : torch::autograd::Function<LayerNormOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias, const NormOptions& options,
                        const Pass& pass) {
    Tensor y = torch::empty(x.sizes(), torch::kFloat32),
           mean_N = torch::empty({num_rows(x)}, torch::kFloat32),
           rstd_N = torch::empty({num_rows(x)}, torch::kFloat32);
    norm(x, weight, bias.value_or(Tensor()), options, y, mean_N.mutable_data_ptr<float>(),
         rstd_N.mutable_data_ptr<float>(), pass);
    saved->save_for_backward({x, weight, mean_N, rstd_N});
    saved->saved_data["bias"] = bias.has_value();
    saved->saved_data["centred"] = options.centred;
    saved->saved_data["weight_offset"] = options.weight_offset;
    remember(saved, pass.run);
    return y;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto t = saved->get_saved_variables();
    const Tensor x_ND = as_rows(t[0]), dy_ND = as_rows(grads[0]);
    const std::int64_t columns = x_ND.size(1);
    Tensor dx = torch::empty(t[0].sizes(), x_ND.options());
    const Tensor dx_ND = dx.view({-1, columns});
    Tensor dweight = torch::empty({columns}, x_ND.options()), dbias;
    if (saved->saved_data["bias"].toBool()) dbias = torch::empty({columns}, x_ND.options());
    kernels::LayerNormBackward args;
    args.x_ND = view_of<const float, 2>(x_ND);
    args.dy_ND = view_of<const float, 2>(dy_ND);
    args.weight_D = t[1].const_data_ptr<float>();
    args.mean_N = t[2].const_data_ptr<float>();
    args.rstd_N = t[3].const_data_ptr<float>();
    args.dx_ND = view_of<float, 2>(dx_ND);
    args.dweight_D = dweight.mutable_data_ptr<float>();
    if (dbias.defined()) args.dbias_D = dbias.mutable_data_ptr<float>();
    args.centred = saved->saved_data["centred"].toBool();
    args.weight_offset = static_cast<float>(saved->saved_data["weight_offset"].toDouble());
    kernels::layer_norm_backward(args, recall_run(saved));
    return {dx, dweight, dbias, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight_D, const Tensor& bias_D,
                  const NormOptions& options, const Pass& pass, bool flat) {
  const Timed timed(pass, "layer_norm");
  if (recording({&x, &weight_D, &bias_D})) {
    const Tensor y = LayerNormOp::apply(x, weight_D, optional(bias_D), options, pass);
    return flat ? y.view({-1, x.size(-1)}) : y;
  }
  const std::int64_t rows = num_rows(x);
  Tensor y = flat ? output({rows, x.size(-1)}, pass) : output(x.sizes(), pass);
  Scratch scratch;
  float *mean_N = scratch.take<float>(rows), *rstd_N = scratch.take<float>(rows);
  norm(x, weight_D, bias_D, options, y, mean_N, rstd_N, pass);
  return y;
}

}  // namespace mote::model::ops
