#include "model/ops/product.h"

#include <ATen/ops/sum.h>
#include <ATen/ops/threshold_backward.h>
#include <algorithm>

#include "base/check.h"
#include "kernels/linear/matmul/matmul.h"
#include "kernels/linear/rows/rows.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using kernels::Gemm;
using kernels::Operand;
using kernels::Rows;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// dW [out, in] = dy^T x.
Tensor gradient_of_matrix(const Tensor& x_NI, const Tensor& dy_NO, const kernels::Run& run,
                          kernels::Precision precision) {
  Tensor dw = torch::empty({dy_NO.size(1), x_NI.size(1)}, x_NI.options());
  Gemm g;
  g.precision = precision;
  g.m = dw.size(0), g.n = dw.size(1), g.k = dy_NO.size(0);
  g.a = {dy_NO.const_data_ptr<float>(), dy_NO.stride(0), Rows::inner};
  g.b = {x_NI.const_data_ptr<float>(), x_NI.stride(0), Rows::inner};
  g.c = dw.mutable_data_ptr<float>(), g.c_stride = g.n;
  kernels::matmul(g, run);
  return dw;
}

// dW [E, out, in]: per expert, over its rows.
Tensor gradient_of_stack(const Tensor& x, const Tensor& dy_RO, const StackRows& rows,
                         const kernels::Run& run, kernels::Precision precision) {
  const SortedRoutes& routes = *rows.routes;
  const std::int64_t experts = routes.num_experts(), out = dy_RO.size(1), in = x.size(1);
  Tensor dw = torch::empty({experts, out, in}, x.options());
  const auto* ends = routes.ends_E.const_data_ptr<std::int32_t>();
  const auto* token = routes.token_R.const_data_ptr<std::int32_t>();
  float* to = dw.mutable_data_ptr<float>();
  Gemm like;
  like.precision = precision;
  const auto& variant = kernels::gemm_variant(like, run);
  parallel_for(*run.executor, experts, [&](std::int64_t e, int) {
    const std::int64_t first = e == 0 ? 0 : ends[e - 1];
    Gemm g = like;
    g.m = out, g.n = in, g.k = ends[e] - first;
    g.a = {dy_RO.const_data_ptr<float>() + first * dy_RO.stride(0), dy_RO.stride(0), Rows::inner};
    const float* from = x.const_data_ptr<float>();
    g.b = rows.gathered ? Operand{from + first * x.stride(0), x.stride(0), Rows::inner}
                        : Operand{from, x.stride(0), Rows::inner, token + first};
    g.c = to + e * out * in, g.c_stride = in;
    variant.call(g, run);
  });
  return dw;
}

// dx [N, in] from the gradients of the routed rows.
Tensor summed_by_token(const Tensor& rows_RI, const SortedRoutes& routes, const kernels::Run& run) {
  Tensor dx = torch::empty({routes.tokens(), rows_RI.size(1)}, rows_RI.options());
  const kernels::Routes index = routes.view();
  kernels::combine_rows({view_of<const float, 2>(rows_RI), index.position_R, index.first_N1,
                         nullptr, view_of<float, 2>(dx)},
                        run);
  return dx;
}

// Slices of a fixed size on all threads, each by LibTorch's own operator on one.
template <class Body>
void for_slices(std::int64_t count, std::int64_t size, const kernels::Run& run, const Body& body) {
  parallel_for(*run.executor, (count + size - 1) / size, [&](std::int64_t i, int) {
    const torch::NoGradGuard no_grad;
    body(i * size, std::min(size, count - i * size));
  });
}

// dy where y > 0, else 0.
Tensor where_positive(const Tensor& y_NO, const Tensor& dy_NO, const kernels::Run& run) {
  Tensor dz = torch::empty(dy_NO.sizes(), dy_NO.options());
  for_slices(dy_NO.size(0), 128, run, [&](std::int64_t first, std::int64_t count) {
    Tensor part = dz.narrow(0, first, count);
    at::threshold_backward_out(part, dy_NO.narrow(0, first, count), y_NO.narrow(0, first, count),
                               0);
  });
  return dz;
}

Tensor summed_over_rows(const Tensor& dy_NO, const kernels::Run& run) {
  Tensor db = torch::empty({dy_NO.size(1)}, dy_NO.options());
  for_slices(dy_NO.size(1), 256, run, [&](std::int64_t first, std::int64_t count) {
    Tensor part = db.narrow(0, first, count);
    at::sum_out(part, dy_NO.narrow(1, first, count), 0);
  });
  return db;
}

// What backward needs beside tensors.
struct Call : torch::CustomClassHolder {
  Call(WeightPtr w, const StackRows& r, kernels::Activation a, const Pass& p)
      : weight(std::move(w)), rows(r), activation(a), pass(p) {}
  bool relu() const { return activation == kernels::Activation::relu; }
  WeightPtr weight;
  StackRows rows;  // without routes: one matrix
  kernels::Activation activation;
  Pass pass;
};

Tensor forward_only(const Weight& weight, const Tensor& x, const Tensor& bias,
                    const StackRows& rows, kernels::Activation activation, const Pass& pass) {
  return rows.routes ? weight.multiply(x, rows, activation, pass)
                     : weight.multiply(x, bias, activation, pass);
}

// `leaf` is the weight's, passed so that autograd sees it.
struct ProductOp : torch::autograd::Function<ProductOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x, const std::optional<Tensor>& leaf,
                        const std::optional<Tensor>& bias, c10::intrusive_ptr<Call> call) {
    // x is kept for the gradient of the weight alone.
    saved->save_for_backward({leaf ? x : Tensor()});
    saved->saved_data["leaf"] = leaf.has_value();
    saved->saved_data["bias"] = bias.has_value();
    saved->saved_data["sizes"] = x.sizes().vec();
    const Tensor y = forward_only(*call->weight, x, bias.value_or(Tensor()), call->rows,
                                  call->activation, call->pass);
    if (call->relu()) saved->saved_data["y"] = y.detach();
    saved->saved_data["call"] = torch::IValue::make_capsule(std::move(call));
    return y;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto call_holder = saved->saved_data["call"].toCapsule();
    const Call& call = *static_cast<const Call*>(call_holder.get());
    const Tensor x = saved->get_saved_variables()[0];
    const kernels::Run& run = call.pass.run;
    Tensor dy = as_rows(grads[0]);
    if (call.relu()) dy = where_positive(as_rows(saved->saved_data["y"].toTensor()), dy, run);
    const SortedRoutes* routes = call.rows.routes ? &*call.rows.routes : nullptr;
    Tensor dx, dw, db;
    if (saved->needs_input_grad(0)) {
      dx = call.weight->multiply_transposed(dy, routes, call.pass);
      if (routes && !call.rows.gathered) dx = summed_by_token(dx, *routes, run);
      dx = dx.view(saved->saved_data["sizes"].toIntVector());
    }
    // Gradients are asked for by number among the tensors that were there.
    const bool leaf = saved->saved_data["leaf"].toBool(), bias = saved->saved_data["bias"].toBool();
    if (leaf && saved->needs_input_grad(1))
      dw = routes ? gradient_of_stack(unit_stride(x), dy, call.rows, run, call.pass.precision)
                  : gradient_of_matrix(as_rows(x), dy, run, call.pass.precision);
    if (bias && saved->needs_input_grad(leaf ? 2 : 1)) db = summed_over_rows(dy, run);
    return {dx, dw, db, Tensor()};
  }
};

Tensor run_product(const Tensor& x, const WeightPtr& weight, const Tensor& bias,
                   const StackRows& rows, kernels::Activation activation, const Pass& pass) {
  const WeightShape& shape = weight->shape();
  const Timed timed(pass, "product");
  MOTE_CHECK(x.size(-1) == shape.in && shape.stacked == rows.routes.has_value(), "product: x has ",
             x.size(-1), " columns, the ", shape.stacked ? "stack " : "matrix ", to_string(shape));
  if (rows.routes) {
    const std::int64_t needed = rows.gathered ? rows.routes->rows() : rows.routes->tokens();
    MOTE_CHECK(x.size(0) == needed && rows.routes->num_experts() == shape.experts,
               "product: x has ", x.size(0), " rows, routes ask for ", needed, " and for ",
               rows.routes->num_experts(), " experts, the stack is ", to_string(shape));
  }
  const Tensor leaf = weight->leaf();
  if (!recording({&x, &leaf, &bias})) return forward_only(*weight, x, bias, rows, activation, pass);
  return ProductOp::apply(x, optional(leaf), optional(bias),
                          c10::make_intrusive<Call>(weight, rows, activation, pass));
}

}  // namespace

Tensor product(const Tensor& x, const WeightPtr& weight, const Tensor& bias, const Pass& pass,
               kernels::Activation activation) {
  return run_product(x, weight, bias, {}, activation, pass);
}

Tensor product(const Tensor& x, const WeightPtr& weight, const StackRows& rows, const Pass& pass,
               kernels::Activation activation) {
  return run_product(x, weight, {}, rows, activation, pass);
}

Tensor embedding(const WeightPtr& weight, const Tensor& ids, const Pass& pass) {
  const Timed timed(pass, "embedding");
  const Tensor leaf = weight->leaf();
  return recording({&leaf}) ? torch::embedding(leaf, ids) : weight->gather_rows(ids, pass);
}

}  // namespace mote::model::ops
