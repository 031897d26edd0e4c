#include "model/ops/gated.h"

#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::View<const float, 2> rows_or_none(const Tensor& x) {
  return x.defined() ? rows_of<const float>(x) : kernels::View<const float, 2>{};
}

void units(const Tensor& g, const Tensor& u, const kernels::Unit& unit, Tensor& h,
           const kernels::Run& run) {
  kernels::gated({rows_or_none(g), rows_or_none(u), unit, rows_of<float>(h)}, run);
}

struct GatedOp : torch::autograd::Function<GatedOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& g, const std::optional<Tensor>& u,
                        const kernels::Unit& unit, const Pass& pass) {
    Tensor h = torch::empty(g.sizes(), torch::kFloat32);
    units(g, u.value_or(Tensor()), unit, h, pass.run);
    saved->save_for_backward({g, u.value_or(Tensor())});
    saved->saved_data["kind"] = static_cast<std::int64_t>(unit.kind);
    saved->saved_data["numbers"] =
        std::vector<double>{static_cast<double>(unit.alpha), static_cast<double>(unit.up_offset),
                            static_cast<double>(unit.limit)};
    remember(saved, pass.run);
    return h;
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto t = saved->get_saved_variables();
    const Tensor &g = t[0], &u = t[1], dh = even_rows(grads[0]);
    const auto numbers = saved->saved_data["numbers"].toDoubleVector();
    Tensor dg = torch::empty(g.sizes(), torch::kFloat32), du;
    if (u.defined()) du = torch::empty(u.sizes(), torch::kFloat32);
    kernels::GatedBackward args;
    args.g_ND = rows_or_none(g);
    args.u_ND = rows_or_none(u);
    args.dh_ND = rows_or_none(dh);
    args.unit = {static_cast<kernels::UnitKind>(saved->saved_data["kind"].toInt()),
                 static_cast<float>(numbers[0]), static_cast<float>(numbers[1]),
                 static_cast<float>(numbers[2])};
    args.dg_ND = rows_of<float>(dg);
    if (u.defined()) args.du_ND = rows_of<float>(du);
    kernels::gated_backward(args, recall_run(saved));
    return {dg, du, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor gated(const Tensor& g_any, const Tensor& u_any, const kernels::Unit& unit,
             const Pass& pass) {
  const Timed timed(pass, "gated");
  const Tensor g = even_rows(g_any), u = u_any.defined() ? even_rows(u_any) : u_any;
  if (recording({&g, &u})) return GatedOp::apply(g, optional(u), unit, pass);
  Tensor h = output(g.sizes(), pass);
  units(g, u, unit, h, pass.run);
  return h;
}

}  // namespace mote::model::ops
