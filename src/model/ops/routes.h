// Which rows go to which experts, and their index sorted by expert (no gradients flow through
// either but for the gates).
#pragma once

#include <optional>
#include <span>

#include "kernels/linear/experts/experts.h"
#include "model/pass.h"
#include "model/torch.h"

namespace mote::model::ops {

// Columns of the k largest scores of each row of [N, E], by falling score, ties to the lower
// column: int32 [N * k].
Tensor topk(const Tensor& scores_NE, std::int64_t k, const Pass& pass);

// One expert for each token of scores [N, E], int32 [N]: the balanced assignment with the largest sum
// (kernels/routing/balanced).
Tensor balanced_assignment(const Tensor& scores_NE, const Pass& pass);

// Where a router sends tokens, ragged: token n has the rows [first_N1[n], first_N1[n + 1]), none or
// many; row r goes to expert_R[r] and comes back times gate_R[r].
struct Assignment {
  std::int64_t num_experts = 0;
  Tensor first_N1, expert_R;  // int32
  Tensor gate_R;              // float32, differentiable in the scores

  std::int64_t tokens() const { return first_N1.size(0) - 1; }
  std::int64_t rows() const { return expert_R.size(0); }
};

// first_N1 of tokens with `k` rows each.
Tensor equal_rows(std::int64_t tokens, std::int64_t k, const Pass& pass);

// sigmoid(score[n, expert_r]) of tokens with `k` rows each, times keep[n, expert_r] where keep is
// defined; differentiable in the scores.
Tensor sigmoid_gates(const Tensor& scores_NE, const Tensor& keep_NE, const Tensor& expert_R,
                     std::int64_t k, const Pass& pass);

// The rows of an assignment sorted by expert (kernels/routing/sort). Handles: cheap to copy.
struct SortedRoutes {
  Tensor first_N1;          // the assignment's
  Tensor ends_E;            // int32: expert e has the sorted rows [ends_E[e-1], ends_E[e])
  Tensor order_R, token_R;  // int32: row and token of each sorted row
  Tensor position_R;        // int32: sorted row of each row
  Tensor blocks_B3;         // int32: kernels::RowBlock, of which the first num_blocks count
  std::int64_t num_blocks = 0;

  std::int64_t tokens() const { return first_N1.size(0) - 1; }
  std::int64_t rows() const { return order_R.size(0); }
  std::int64_t num_experts() const { return ends_E.size(0); }
  std::span<const kernels::RowBlock> blocks() const;
  kernels::Routes view() const;
};
// What a bank asks for when it wants rows by expert. Throws where the assignment disagrees with
// itself.
SortedRoutes sort_routes(const Assignment& assignment, const Pass& pass);

// What enters a stack of matrices: rows by token, of which sorted row r takes row token_R[r], or
// rows that were gathered in sorted order. Without routes: one matrix takes every row.
struct StackRows {
  std::optional<SortedRoutes> routes;
  bool gathered = false;
};

}  // namespace mote::model::ops
