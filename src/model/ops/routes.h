// Selection and sorting of routed rows (no gradients flow through them).
#pragma once

#include <memory>
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

// Where a router sends rows: to K experts each, with these weights.
struct Assignment {
  Tensor gates_NK;  // differentiable in the scores
  std::shared_ptr<const SortedRoutes> routes;
};

// What enters a stack of matrices: rows by token, of which routed row r takes row token_R[r], or
// rows that were gathered in sorted order. Without routes: one matrix takes every row.
struct StackRows {
  std::shared_ptr<const SortedRoutes> routes;
  bool gathered = false;
};

}  // namespace mote::model::ops
