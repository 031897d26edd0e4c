#include "model/ops/keep_topk.h"

#include <ATen/ops/threshold_backward.h>

#include "kernels/routing/keep_topk/keep_topk.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor kept(const Tensor& x_NF, std::int64_t k, const Pass& pass) {
  Tensor y_NF = output(x_NF.sizes(), pass);
  y_NF.copy_(x_NF);
  kernels::keep_topk({rows_of<float>(y_NF), k}, pass.run);
  return y_NF;
}

struct KeepTopkOp : torch::autograd::Function<KeepTopkOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x_NF, std::int64_t k,
                        const Pass& pass) {
    const Tensor y_NF = kept(x_NF, k, pass);
    saved->save_for_backward({y_NF});
    return y_NF;
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    return {at::threshold_backward(grads[0], saved->get_saved_variables()[0], 0), Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor keep_topk(const Tensor& x_NF, std::int64_t k, const Pass& pass) {
  const Timed timed(pass, "keep_topk");
  if (recording({&x_NF})) return KeepTopkOp::apply(x_NF, k, pass);
  return kept(x_NF, k, pass);
}

}  // namespace mote::model::ops
