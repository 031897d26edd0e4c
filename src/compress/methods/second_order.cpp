#include "compress/methods/second_order.h"

#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve_triangular.h>

#include "compress/methods/clip_search.h"
#include "compress/methods/rounding.h"
#include "kernels/packed/rounding/rounding.h"
#include "model/ops/bridge.h"

namespace mote::compress {
namespace {

using model::ops::view_of;

// The factor of one expert, or undefined where the moments are broken. With both axes reversed, H~
// = M M^T for a lower M; back in order that is H~ = R R^T with R upper, so U = R^-1: one
// factorisation and one triangular inverse, and no inverse of H~ itself.
Tensor inverse_factor(const Tensor& moments_II, std::int64_t tokens, double damping) {
  if (tokens == 0 || !moments_II.isfinite().all().item<bool>()) return {};
  Tensor damped = moments_II * (static_cast<double>(tokens) / 2);
  const double damp = std::max(damping * damped.diagonal().mean().item<double>(), 1e-6);
  damped.diagonal().add_(damp);
  const auto [reversed, failed] = at::linalg_cholesky_ex(damped.flip({0, 1}));
  if (failed.item<int>() != 0) return {};
  const Tensor r_II = reversed.flip({0, 1}).contiguous();
  const Tensor u_II = at::linalg_solve_triangular(r_II, torch::eye(r_II.size(0)), /*upper=*/true);
  return u_II.isfinite().all().item<bool>() ? u_II : Tensor();
}

}  // namespace

InverseFactors inverse_factors(const Statistics& statistics, double damping,
                               const model::Pass& pass) {
  const Tensor& moments_EII = statistics.second_moments_EII;
  const std::int64_t experts = moments_EII.size(0);
  InverseFactors factors{torch::empty_like(moments_EII),
                         std::vector<char>(static_cast<std::size_t>(experts))};
  parallel_for(*pass.run.executor, experts, [&](std::int64_t e, int) {
    const torch::NoGradGuard no_grad;
    const auto at = static_cast<std::size_t>(e);
    const Tensor u_II = inverse_factor(moments_EII[e], statistics.tokens[at], damping);
    factors.usable[at] = u_II.defined();
    factors.u_EII[e].copy_(u_II.defined() ? u_II : torch::eye(moments_EII.size(1)));
  });
  return factors;
}

MethodResult SecondOrder::compress(const model::Weight& weight, const Statistics& seen,
                                   const std::string& name, const model::Pass& pass) const {
  Tensor w_EOI = as_stack(weight);
  Statistics statistics = seen;
  if (!statistics.second_moments_EII.defined()) {
    // Nothing was sent through it.
    statistics.second_moments_EII =
        torch::zeros({w_EOI.size(0), w_EOI.size(2), w_EOI.size(2)}, torch::kFloat32);
    statistics.tokens.assign(static_cast<std::size_t>(w_EOI.size(0)), 0);
  }
  const std::int64_t experts = w_EOI.size(0), out = w_EOI.size(1), in = w_EOI.size(2);
  const Tensor levels_EO2 = naming(name, w_EOI, [&] {
    return options_.search_clip ? search_levels(w_EOI, statistics, options_, pass)
                                : row_levels(w_EOI, options_.bits, pass);
  });
  check_levels(levels_EO2, options_.bits, w_EOI, name);
  Statistics ordered = statistics;
  Tensor order_EI;
  if (options_.act_order) {
    // Columns by falling second moment, stably, so that equal ones keep their order.
    order_EI = torch::argsort(statistics.second_moments_EII.diagonal(0, 1, 2), true, -1, true);
    const Tensor columns_EOI = order_EI.unsqueeze(1).expand({experts, out, in});
    w_EOI = w_EOI.gather(2, columns_EOI).contiguous();
    ordered.second_moments_EII =
        statistics.second_moments_EII.gather(2, order_EI.unsqueeze(1).expand({experts, in, in}))
            .gather(1, order_EI.unsqueeze(2).expand({experts, in, in}));
  }
  const InverseFactors factors = inverse_factors(ordered, options_.damping, pass);
  Tensor symbols_EOI = torch::empty(w_EOI.sizes(), torch::kUInt8);
  Tensor objective_EO = torch::empty({experts, out}, torch::kFloat32);
  Tensor scratch =
      torch::empty({kernels::gptq_scratch(in, pass.run.executor->threads())}, torch::kUInt8);
  kernels::Gptq args;
  args.w_ERC = view_of<const float, 3>(w_EOI);
  args.u_ECC = view_of<const float, 3>(factors.u_EII);
  args.grid = grid_of(options_.bits);
  args.levels_ER2 = view_of<const float, 3>(levels_EO2);
  args.symbols_ERC = view_of<std::uint8_t, 3>(symbols_EOI);
  args.objective_ER = view_of<float, 2>(objective_EO);
  args.scratch =
      kernels::view(static_cast<std::byte*>(scratch.mutable_data_ptr()), scratch.size(0));
  naming(name, w_EOI, [&] { kernels::gptq(args, pass.run); });
  if (options_.act_order) {
    Tensor back_EOI = torch::empty_like(symbols_EOI);
    back_EOI.scatter_(2, order_EI.unsqueeze(1).expand({experts, out, in}), symbols_EOI);
    symbols_EOI = back_EOI;
  }
  MethodResult result;
  pack(symbols_EOI, levels_EO2, options_.bits, weight.shape(), name, pass, result);
  result.error = objective_EO.sum(torch::kFloat64).item<double>();
  result.calibrated_E = factors.usable;
  return result;
}

}  // namespace mote::compress
