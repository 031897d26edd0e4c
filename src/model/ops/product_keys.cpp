#include "model/ops/product_keys.h"

#include "kernels/lookup/product_keys/product_keys.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::View<const float, 3> half_keys(const Tensor& keys_S2nC) {
  return kernels::view(keys_S2nC.const_data_ptr<float>(), 2 * keys_S2nC.size(0), keys_S2nC.size(2),
                       keys_S2nC.size(3));
}

KeysFound found(const Tensor& q_NHC, const Tensor& keys_S2nC, std::int64_t k,
                const kernels::Run& run) {
  const std::int64_t tokens = q_NHC.size(0), heads = q_NHC.size(1);
  KeysFound best{torch::empty({tokens, heads, k}, torch::kInt32), torch::empty({tokens, heads, k})};
  kernels::product_key_search(
      {view_of<const float, 3>(q_NHC), half_keys(keys_S2nC),
       view_of<std::int32_t, 3>(best.index_NHK), view_of<float, 3>(best.score_NHK)},
      run);
  return best;
}

struct ProductKeysOp : torch::autograd::Function<ProductKeysOp> {
  static variable_list forward(AutogradContext* saved, const Tensor& q_NHC, const Tensor& keys_S2nC,
                               std::int64_t k, const Pass& pass) {
    const KeysFound best = found(q_NHC, keys_S2nC, k, pass.run);
    saved->save_for_backward({q_NHC, keys_S2nC, best.index_NHK});
    saved->mark_non_differentiable({best.index_NHK});
    remember(saved, pass.run);
    return {best.index_NHK, best.score_NHK};
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto tensors = saved->get_saved_variables();
    const Tensor &q_NHC = tensors[0], &keys_S2nC = tensors[1], &index_NHK = tensors[2];
    const Tensor dscore_NHK = grads[1].contiguous();
    Tensor dq = torch::empty(q_NHC.sizes()), dkeys = torch::empty(keys_S2nC.sizes());
    kernels::product_key_backward({view_of<const float, 3>(q_NHC), half_keys(keys_S2nC),
                                   view_of<const std::int32_t, 3>(index_NHK),
                                   view_of<const float, 3>(dscore_NHK), view_of<float, 3>(dq),
                                   kernels::view(dkeys.mutable_data_ptr<float>(), 2 * dkeys.size(0),
                                                 dkeys.size(2), dkeys.size(3))},
                                  recall_run(saved));
    return {dq, dkeys, Tensor(), Tensor()};
  }
};

}  // namespace

KeysFound product_keys(const Tensor& q_NHC, const Tensor& keys_S2nC, std::int64_t k,
                       const Pass& pass) {
  const Timed timed(pass, "product_keys");
  const Tensor q = unit_stride(q_NHC), keys = keys_S2nC.contiguous();
  if (!recording({&q, &keys})) return found(q, keys, k, pass.run);
  const variable_list best = ProductKeysOp::apply(q, keys, k, pass);
  return {best[0], best[1]};
}

}  // namespace mote::model::ops
