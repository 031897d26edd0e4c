#include "model/ops/experts.h"

#include "kernels/linear/rows/rows.h"
#include "model/ops/bridge.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Lets an autograd context share the index with the forward pass.
struct RoutesHolder : torch::CustomClassHolder {
  explicit RoutesHolder(std::shared_ptr<const SortedRoutes> r) : routes(std::move(r)) {}
  std::shared_ptr<const SortedRoutes> routes;
};

struct ExpertsOp : torch::autograd::Function<ExpertsOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x, const Tensor& up,
                        const Tensor& down, const Tensor& gates,
                        const std::shared_ptr<const SortedRoutes>& routes, const Pass& pass) {
    const Tensor x_ND = unit_stride(x), up_EGD = unit_stride(up), down_EDG = unit_stride(down);
    const Tensor gates_NK = gates.contiguous();
    Tensor u_RG = torch::empty({routes->rows(), up.size(1)}, x.options());
    Tensor p_RD = torch::empty({routes->rows(), up.size(2)}, x.options());
    Tensor y_ND = torch::empty({x.size(0), up.size(2)}, x.options());
    kernels::experts_forward(
        {view_of<const float, 2>(x_ND), view_of<const float, 3>(up_EGD),
         view_of<const float, 3>(down_EDG), routes->view(), gates_NK.const_data_ptr<float>(),
         view_of<float, 2>(u_RG), view_of<float, 2>(y_ND), view_of<float, 2>(p_RD), pass.precision},
        pass.run);
    saved->save_for_backward({x_ND, up_EGD, down_EDG, gates_NK, u_RG});
    saved->saved_data["routes"] =
        torch::IValue::make_capsule(c10::make_intrusive<RoutesHolder>(routes));
    remember(saved, pass.run, pass.precision);
    return y_ND;
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto tensors = saved->get_saved_variables();
    const Tensor &x_ND = tensors[0], &up_EGD = tensors[1], &down_EDG = tensors[2],
                 &gates_NK = tensors[3], &u_RG = tensors[4];
    const auto routes =
        static_cast<const RoutesHolder*>(saved->saved_data["routes"].toCapsule().get())->routes;
    const Tensor dy_ND = unit_stride(grads[0]);
    Tensor dx = torch::empty(x_ND.sizes(), x_ND.options()),
           dup = torch::empty(up_EGD.sizes(), x_ND.options());
    Tensor ddown = torch::empty(down_EDG.sizes(), x_ND.options());
    Tensor dgates = torch::empty(gates_NK.sizes(), x_ND.options());
    Tensor dh = torch::empty(u_RG.sizes(), x_ND.options());
    Tensor p = torch::empty({routes->rows(), x_ND.size(1)}, x_ND.options());
    kernels::ExpertsBackward args;
    args.x_ND = view_of<const float, 2>(x_ND);
    args.u_RG = view_of<const float, 2>(u_RG);
    args.dy_ND = view_of<const float, 2>(dy_ND);
    args.up_EGD = view_of<const float, 3>(up_EGD);
    args.down_EDG = view_of<const float, 3>(down_EDG);
    args.routes = routes->view();
    args.gate_NK = gates_NK.const_data_ptr<float>();
    args.dx_ND = view_of<float, 2>(dx);
    args.dgate_NK = dgates.mutable_data_ptr<float>();
    args.dup_EGD = view_of<float, 3>(dup);
    args.ddown_EDG = view_of<float, 3>(ddown);
    args.dh_RG = view_of<float, 2>(dh);
    args.p_RD = view_of<float, 2>(p);
    args.precision = recall_precision(saved);
    kernels::experts_backward(args, recall_run(saved));
    return {dx, dup, ddown, dgates, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor experts(const Tensor& x_ND, const Tensor& up_EGD, const Tensor& down_EDG,
               const Tensor& gates_NK, std::shared_ptr<const SortedRoutes> routes,
               const Pass& pass) {
  return ExpertsOp::apply(x_ND, up_EGD, down_EDG, gates_NK, std::move(routes), pass);
}

Tensor combine(const Tensor& p_RD, const Tensor& gates_NK, const SortedRoutes& routes,
               const Pass& pass) {
  const Tensor gates = gates_NK.contiguous();
  Tensor y_ND = torch::empty({gates.size(0), p_RD.size(1)}, p_RD.options());
  kernels::combine_rows(
      {view_of<const float, 2>(p_RD), view_of<const std::int32_t, 2>(routes.position_NK),
       gates.const_data_ptr<float>(), view_of<float, 2>(y_ND)},
      pass.run);
  return y_ND;
}

}  // namespace mote::model::ops
