#include "model/ops/experts.h"

#include <cassert>

#include "base/check.h"
#include "kernels/linear/rows/rows.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Lets an autograd context share the index with the forward pass.
struct RoutesHolder : torch::CustomClassHolder {
  explicit RoutesHolder(const SortedRoutes& r) : routes(r) {}
  const SortedRoutes routes;
};

struct Stacks {
  kernels::Stack gate, up, down;
  kernels::Unit unit;
};

// x has unit stride along rows; hidden units are kept where u_RG is defined.
Tensor made_by_experts(const Tensor& x_ND, const Stacks& w, const Tensor& gate_R,
                       const SortedRoutes& routes, const Tensor& u_RG, const Pass& pass) {
  Tensor y_ND = output({x_ND.size(0), w.down.rows}, pass);
  kernels::ExpertsForward args;
  args.x_ND = view_of<const float, 2>(x_ND);
  args.gate_EGD = w.gate, args.up_EGD = w.up, args.down_EDG = w.down;
  args.unit = w.unit;
  args.routes = routes.view();
  args.gate_R = gate_R.const_data_ptr<float>();
  if (u_RG.defined()) args.u_RG = view_of<float, 2>(u_RG);
  args.y_ND = view_of<float, 2>(y_ND);
  args.precision = pass.precision;
  kernels::experts_forward(args, pass.run);
  return y_ND;
}

struct ExpertsOp : torch::autograd::Function<ExpertsOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x, const Tensor& up,
                        const Tensor& down, const Tensor& gates, const SortedRoutes& routes,
                        const Pass& pass) {
    const Tensor x_ND = unit_stride(x), up_EGD = unit_stride(up), down_EDG = unit_stride(down);
    const Tensor gate_R = gates.contiguous();
    const Tensor u_RG = torch::empty({routes.rows(), up_EGD.size(1)}, x_ND.options());
    const Tensor y_ND = made_by_experts(x_ND,
                                        {{},
                                         kernels::stack_of(view_of<const float, 3>(up_EGD)),
                                         kernels::stack_of(view_of<const float, 3>(down_EDG)),
                                         {kernels::UnitKind::relu}},
                                        gate_R, routes, u_RG, pass);
    saved->save_for_backward({x_ND, up_EGD, down_EDG, gate_R, u_RG});
    saved->saved_data["routes"] =
        torch::IValue::make_capsule(c10::make_intrusive<RoutesHolder>(routes));
    remember(saved, pass.run, pass.precision);
    return y_ND;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto tensors = saved->get_saved_variables();
    const Tensor &x_ND = tensors[0], &up_EGD = tensors[1], &down_EDG = tensors[2],
                 &gate_R = tensors[3], &u_RG = tensors[4];
    const auto holder = saved->saved_data["routes"].toCapsule();
    const SortedRoutes& routes = static_cast<const RoutesHolder*>(holder.get())->routes;
    const Tensor dy_ND = unit_stride(grads[0]);
    Tensor dx = torch::empty(x_ND.sizes(), x_ND.options()),
           dup = torch::empty(up_EGD.sizes(), x_ND.options());
    Tensor ddown = torch::empty(down_EDG.sizes(), x_ND.options());
    Tensor dgates = torch::empty(gate_R.sizes(), x_ND.options());
    kernels::ExpertsBackward args;
    args.x_ND = view_of<const float, 2>(x_ND);
    args.u_RG = view_of<const float, 2>(u_RG);
    args.dy_ND = view_of<const float, 2>(dy_ND);
    args.up_EGD = view_of<const float, 3>(up_EGD);
    args.down_EDG = view_of<const float, 3>(down_EDG);
    args.routes = routes.view();
    args.gate_R = gate_R.const_data_ptr<float>();
    args.dx_ND = view_of<float, 2>(dx);
    args.dgate_R = dgates.mutable_data_ptr<float>();
    args.dup_EGD = view_of<float, 3>(dup);
    args.ddown_EDG = view_of<float, 3>(ddown);
    args.precision = recall_precision(saved);
    kernels::experts_backward(args, recall_run(saved));
    return {dx, dup, ddown, dgates, Tensor(), Tensor()};
  }
};

Tensor combined(const Tensor& p_RD, const Tensor& gate_R, const SortedRoutes& routes,
                const Pass& pass) {
  const Tensor gates = gate_R.contiguous();
  Tensor y_ND = output({routes.tokens(), p_RD.size(1)}, pass);
  const kernels::Routes index = routes.view();
  kernels::combine_rows({view_of<const float, 2>(p_RD), index.position_R, index.first_N1,
                         gates.const_data_ptr<float>(), view_of<float, 2>(y_ND)},
                        pass.run);
  return y_ND;
}

// dp_r = gate_r dy_n,  dgate_r = <dy_n, p_r>, n the token of the sorted row r.
struct CombineOp : torch::autograd::Function<CombineOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& p_RD, const Tensor& gate_R,
                        const SortedRoutes& routes, const Pass& pass) {
    saved->save_for_backward({p_RD, gate_R});
    saved->saved_data["routes"] =
        torch::IValue::make_capsule(c10::make_intrusive<RoutesHolder>(routes));
    return combined(p_RD, gate_R, routes, pass);
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto tensors = saved->get_saved_variables();
    const auto holder = saved->saved_data["routes"].toCapsule();
    const SortedRoutes& routes = static_cast<const RoutesHolder*>(holder.get())->routes;
    const Tensor dy_RD = grads[0].index_select(0, routes.token_R);
    const Tensor sorted_gate_R = tensors[1].index_select(0, routes.order_R);
    Tensor dgate_R = torch::empty_like(tensors[1]);
    dgate_R.index_copy_(0, routes.order_R.to(torch::kInt64), (dy_RD * tensors[0]).sum(-1));
    return {dy_RD * sorted_gate_R.unsqueeze(1), dgate_R, Tensor(), Tensor()};
  }
};

void check_gates(const Tensor& gate_R, const SortedRoutes& routes) {
  MOTE_CHECK(gate_R.sizes() == at::IntArrayRef({routes.rows()}), "experts: ", routes.rows(),
             " routed rows, gates are ", gate_R.sizes());
}

}  // namespace

Tensor experts(const Tensor& x_ND, const ExpertWeights& weights, const Tensor& gate_R,
               const SortedRoutes& routes, const Pass& pass) {
  const Timed timed(pass, "experts");
  check_gates(gate_R, routes);
  const Tensor up = weights.up.leaf(), down = weights.down.leaf();
  if (!recording({&x_ND, &up, &down, &gate_R}))
    return made_by_experts(unit_stride(x_ND),
                           {weights.gate ? weights.gate->stack() : kernels::Stack{},
                            weights.up.stack(), weights.down.stack(), weights.unit},
                           gate_R.contiguous(), routes, {}, pass);
  assert(!weights.gate && weights.unit.kind == kernels::UnitKind::relu && up.defined() &&
         down.defined());
  return ExpertsOp::apply(x_ND, up, down, gate_R, routes, pass);
}

Tensor combine(const Tensor& p_RD, const Tensor& gate_R, const SortedRoutes& routes,
               const Pass& pass) {
  const Timed timed(pass, "combine");
  check_gates(gate_R, routes);
  if (recording({&p_RD, &gate_R})) return CombineOp::apply(p_RD, gate_R, routes, pass);
  return combined(p_RD, gate_R, routes, pass);
}

}  // namespace mote::model::ops
