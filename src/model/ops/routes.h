// Selection and sorting of routed rows (no gradients flow through them).
#pragma once

#include <vector>

#include "kernels/linear/experts/experts.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// Columns of the k largest scores of each row of [N, E], by falling score, ties to the lower
// column: int32 [N, K].
Tensor topk(const Tensor& scores_NE, std::int64_t k, const Pass& pass);

// Routed rows sorted by expert, and the memory that their index lies in.
struct SortedRoutes {
  Tensor experts_NK, ends_E, order_R, token_R, position_NK;  // int32
  std::vector<kernels::RowBlock> blocks;

  std::int64_t rows() const { return order_R.size(0); }
  kernels::Routes view() const;
};
SortedRoutes sort_routes(const Tensor& experts_NK, std::int64_t num_experts);

}  // namespace mote::model::ops
