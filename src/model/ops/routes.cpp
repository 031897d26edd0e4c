#include "model/ops/routes.h"

#include <cmath>

#include "base/check.h"
#include "kernels/routing/balanced/balanced.h"
#include "kernels/routing/topk/topk.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {

Tensor topk(const Tensor& scores_NE, std::int64_t k, const Pass& pass) {
  const Timed timed(pass, "topk");
  const Tensor scores = unit_stride(scores_NE);
  const std::int64_t rows = scores.size(0);
  Tensor index = output({rows * k}, pass, torch::kInt32);
  kernels::topk({view_of<const float, 2>(scores),
                 kernels::view(index.mutable_data_ptr<std::int32_t>(), rows, k)},
                pass.run);
  return index;
}

Tensor balanced_assignment(const Tensor& scores_NE, const Pass& pass) {
  const Timed timed(pass, "balanced_assignment");
  Tensor expert_N = output({scores_NE.size(0)}, pass, torch::kInt32);
  kernels::balanced_assignment(
      {view_of<const float, 2>(scores_NE), view_of<std::int32_t, 1>(expert_N)});
  return expert_N;
}

Tensor equal_rows(std::int64_t tokens, std::int64_t k, const Pass& pass) {
  MOTE_CHECK(tokens * k <= INT32_MAX, "routes: ", tokens, " tokens with ", k,
             " rows each are more than 32-bit numbers count");
  Tensor first_N1 = output({tokens + 1}, pass, torch::kInt32);
  auto* first = first_N1.mutable_data_ptr<std::int32_t>();
  for (std::int64_t n = 0; n <= tokens; ++n) first[n] = static_cast<std::int32_t>(n * k);
  return first_N1;
}

Tensor sigmoid_gates(const Tensor& scores_NE, const Tensor& keep_NE, const Tensor& expert_R,
                     std::int64_t k, const Pass& pass) {
  const Timed timed(pass, "gates");
  const std::int64_t tokens = scores_NE.size(0);
  if (recording({&scores_NE}) || keep_NE.defined()) {
    const Tensor all_NE = torch::sigmoid(scores_NE);
    return (keep_NE.defined() ? all_NE * keep_NE : all_NE)
        .gather(1, expert_R.view({tokens, k}).to(torch::kInt64))
        .view(-1);
  }
  Tensor gate_R = output({tokens * k}, pass);
  const auto scores = view_of<const float, 2>(scores_NE);
  const auto* expert = expert_R.const_data_ptr<std::int32_t>();
  float* gate = gate_R.mutable_data_ptr<float>();
  for (std::int64_t r = 0; r < tokens * k; ++r)
    gate[r] = 1 / (1 + std::exp(-scores(r / k, expert[r])));
  return gate_R;
}

std::span<const kernels::RowBlock> SortedRoutes::blocks() const {
  return {reinterpret_cast<const kernels::RowBlock*>(blocks_B3.const_data_ptr<std::int32_t>()),
          static_cast<std::size_t>(num_blocks)};
}

kernels::Routes SortedRoutes::view() const {
  return {ends_E.const_data_ptr<std::int32_t>(),    order_R.const_data_ptr<std::int32_t>(),
          token_R.const_data_ptr<std::int32_t>(),   view_of<const std::int32_t, 1>(position_R),
          view_of<const std::int32_t, 1>(first_N1), blocks()};
}

SortedRoutes sort_routes(const Assignment& assignment, const Pass& pass) {
  const Timed timed(pass, "sort");
  const std::int64_t rows = assignment.rows(), experts = assignment.num_experts;
  MOTE_CHECK(assignment.gate_R.sizes() == at::IntArrayRef({rows}), "routes: ", rows,
             " rows have experts, gates are ", assignment.gate_R.sizes());
  const auto ints = [&](std::int64_t count) { return output({count}, pass, torch::kInt32); };
  const auto data = [](Tensor& x) { return x.mutable_data_ptr<std::int32_t>(); };
  SortedRoutes s{assignment.first_N1, ints(experts), ints(rows), ints(rows), ints(rows), {}, 0};
  kernels::sort_routes({view_of<const std::int32_t, 1>(assignment.expert_R),
                        view_of<const std::int32_t, 1>(assignment.first_N1), experts,
                        data(s.ends_E), data(s.order_R), data(s.token_R), data(s.position_R)});
  static_assert(sizeof(kernels::RowBlock) == 3 * sizeof(std::int32_t));
  s.blocks_B3 = output({kernels::max_row_blocks(rows, experts), 3}, pass, torch::kInt32);
  s.num_blocks = kernels::make_row_blocks(s.ends_E.const_data_ptr<std::int32_t>(), experts,
                                          reinterpret_cast<kernels::RowBlock*>(data(s.blocks_B3)));
  return s;
}

}  // namespace mote::model::ops
