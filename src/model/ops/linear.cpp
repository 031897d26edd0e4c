#include "model/ops/linear.h"

#include "base/check.h"
#include "kernels/linear/matmul/matmul.h"
#include "model/ops/bridge.h"

namespace mote::model::ops {
namespace {

using kernels::Gemm;
using kernels::Rows;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearOp : torch::autograd::Function<LinearOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x, const Tensor& weight_OI,
                        const std::optional<Tensor>& bias_O, const Pass& pass) {
    saved->save_for_backward({x, weight_OI});
    saved->saved_data["bias"] = bias_O.has_value();
    remember(saved, pass.run, pass.precision);
    const Tensor x_NI = as_rows(x), w = unit_stride(weight_OI);
    std::vector<std::int64_t> shape = x.sizes().vec();
    shape.back() = w.size(0);
    Tensor y = torch::empty(shape, x.options());
    Gemm g;
    g.m = x_NI.size(0), g.n = w.size(0), g.k = w.size(1);
    g.a = {x_NI.const_data_ptr<float>(), x_NI.stride(0), Rows::outer};
    g.b = {w.const_data_ptr<float>(), w.stride(0), Rows::outer};
    g.c = y.mutable_data_ptr<float>(), g.c_stride = g.n;
    const Tensor bias = bias_O ? bias_O->contiguous() : Tensor();
    if (bias.defined()) g.bias = bias.const_data_ptr<float>();
    g.precision = pass.precision;
    kernels::matmul(g, pass.run);
    return y;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto tensors = saved->get_saved_variables();
    const kernels::Run run = recall_run(saved);
    const Tensor x_NI = as_rows(tensors[0]), w = unit_stride(tensors[1]);
    const Tensor dy_NO = as_rows(grads[0]);
    Gemm like;
    like.precision = recall_precision(saved);
    Tensor dx, dw, db;
    if (saved->needs_input_grad(0)) {
      dx = torch::empty(tensors[0].sizes(), x_NI.options());
      Gemm g = like;
      g.m = dy_NO.size(0), g.n = w.size(1), g.k = w.size(0);
      g.a = {dy_NO.const_data_ptr<float>(), dy_NO.stride(0), Rows::outer};
      g.b = {w.const_data_ptr<float>(), w.stride(0), Rows::inner};
      g.c = dx.mutable_data_ptr<float>(), g.c_stride = g.n;
      kernels::matmul(g, run);
    }
    if (saved->needs_input_grad(1)) {
      dw = torch::empty(w.sizes(), w.options());
      Gemm g = like;
      g.m = w.size(0), g.n = w.size(1), g.k = dy_NO.size(0);
      g.a = {dy_NO.const_data_ptr<float>(), dy_NO.stride(0), Rows::inner};
      g.b = {x_NI.const_data_ptr<float>(), x_NI.stride(0), Rows::inner};
      g.c = dw.mutable_data_ptr<float>(), g.c_stride = g.n;
      kernels::matmul(g, run);
    }
    if (saved->saved_data["bias"].toBool() && saved->needs_input_grad(2)) db = dy_NO.sum(0);
    return {dx, dw, db, Tensor()};
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight_OI, const Tensor& bias_O, const Pass& pass) {
  MOTE_CHECK(x.size(-1) == weight_OI.size(1), "linear: x has ", x.size(-1), " columns, the weight ",
             weight_OI.size(1));
  return LinearOp::apply(x, weight_OI, optional(bias_O), pass);
}

}  // namespace mote::model::ops
