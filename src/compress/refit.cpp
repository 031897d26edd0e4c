#include "compress/refit.h"

#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/linalg_cholesky_ex.h>

namespace mote::compress {

Tensor refitted(const Tensor& w_EOI, const Moments& original_by_now, const Statistics& now,
                double damping, const model::Pass& pass) {
  const Tensor c_EII = original_by_now.sum_ELR().to(torch::kFloat64),
               v_EII = now.second_moments_EII.to(torch::kFloat64);
  const Tensor damp_E11 =
      (damping * v_EII.diagonal(0, 1, 2).mean(1)).clamp_min(1e-6).view({-1, 1, 1});
  const Tensor damped_EII = v_EII + damp_E11 * torch::eye(v_EII.size(1), torch::kFloat64);
  const Tensor w = w_EOI.to(torch::kFloat64);
  const Tensor wanted_EOI = w.matmul(c_EII) + damp_E11 * w;
  Tensor refitted_EOI = torch::empty_like(w);
  parallel_for(*pass.run.executor, w.size(0), [&](std::int64_t e, int) {
    const torch::NoGradGuard no_grad;
    const auto [lower, failed] = at::linalg_cholesky_ex(damped_EII[e]);
    const Tensor solved =
        failed.item<int>() == 0 ? at::cholesky_solve(wanted_EOI[e].t(), lower).t() : Tensor();
    refitted_EOI[e].copy_(solved.defined() && solved.isfinite().all().item<bool>() ? solved : w[e]);
  });
  return refitted_EOI.to(torch::kFloat32);
}

void InputRecorder::saw(const std::string& name, const Tensor& x,
                        const model::ops::StackRows& rows) {
  const Tensor x_NI = x.detach().reshape({-1, x.size(-1)});
  if (!rows.routes)
    seen_[name] = {x_NI, torch::full({1}, x_NI.size(0), torch::kInt32), rows};
  else
    seen_[name] = {rows.gathered ? x_NI : x_NI.index_select(0, rows.routes->token_R),
                   rows.routes->ends_E, rows};
}

}  // namespace mote::compress
