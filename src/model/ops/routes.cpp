#include "model/ops/routes.h"

#include "kernels/routing/topk/topk.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {

Tensor topk(const Tensor& scores_NE, std::int64_t k, const Pass& pass) {
  const Timed timed(pass, "topk");
  const Tensor scores = unit_stride(scores_NE.detach());
  Tensor index_NK = torch::empty({scores.size(0), k}, torch::kInt32);
  kernels::topk({view_of<const float, 2>(scores), view_of<std::int32_t, 2>(index_NK)}, pass.run);
  return index_NK;
}

kernels::Routes SortedRoutes::view() const {
  return {ends_E.const_data_ptr<std::int32_t>(), order_R.const_data_ptr<std::int32_t>(),
          token_R.const_data_ptr<std::int32_t>(), view_of<const std::int32_t, 2>(position_NK),
          blocks};
}

SortedRoutes sort_routes(const Tensor& experts_NK, std::int64_t num_experts) {
  const std::int64_t rows = experts_NK.numel();
  SortedRoutes s;
  s.experts_NK = experts_NK;
  s.ends_E = torch::empty({num_experts}, torch::kInt32);
  s.order_R = torch::empty({rows}, torch::kInt32);
  s.token_R = torch::empty({rows}, torch::kInt32);
  s.position_NK = torch::empty(experts_NK.sizes(), torch::kInt32);
  kernels::sort_routes(
      {view_of<const std::int32_t, 2>(experts_NK), num_experts,
       s.ends_E.mutable_data_ptr<std::int32_t>(), s.order_R.mutable_data_ptr<std::int32_t>(),
       s.token_R.mutable_data_ptr<std::int32_t>(), s.position_NK.mutable_data_ptr<std::int32_t>()});
  s.blocks.resize(static_cast<std::size_t>(kernels::max_row_blocks(rows, num_experts)));
  s.blocks.resize(static_cast<std::size_t>(kernels::make_row_blocks(
      s.ends_E.const_data_ptr<std::int32_t>(), num_experts, s.blocks.data())));
  return s;
}

}  // namespace mote::model::ops
