#include "model/ops/routes.h"

#include "base/check.h"
#include "kernels/routing/topk/topk.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {

Tensor topk(const Tensor& scores_NE, std::int64_t k, const Pass& pass) {
  const Timed timed(pass, "topk");
  const Tensor scores = unit_stride(scores_NE.detach());
  const std::int64_t rows = scores.size(0);
  Tensor index = torch::empty({rows * k}, torch::kInt32);
  kernels::topk({view_of<const float, 2>(scores),
                 kernels::view(index.mutable_data_ptr<std::int32_t>(), rows, k)},
                pass.run);
  return index;
}

Tensor equal_rows(std::int64_t tokens, std::int64_t k) {
  MOTE_CHECK(tokens * k <= INT32_MAX, "routes: ", tokens, " tokens with ", k,
             " rows each are more than 32-bit numbers count");
  Tensor first_N1 = torch::empty({tokens + 1}, torch::kInt32);
  auto* first = first_N1.mutable_data_ptr<std::int32_t>();
  for (std::int64_t n = 0; n <= tokens; ++n) first[n] = static_cast<std::int32_t>(n * k);
  return first_N1;
}

std::span<const kernels::RowBlock> SortedRoutes::blocks() const {
  return {reinterpret_cast<const kernels::RowBlock*>(blocks_B3.const_data_ptr<std::int32_t>()),
          static_cast<std::size_t>(blocks_B3.size(0))};
}

kernels::Routes SortedRoutes::view() const {
  return {ends_E.const_data_ptr<std::int32_t>(),    order_R.const_data_ptr<std::int32_t>(),
          token_R.const_data_ptr<std::int32_t>(),   view_of<const std::int32_t, 1>(position_R),
          view_of<const std::int32_t, 1>(first_N1), blocks()};
}

SortedRoutes sort_routes(const Assignment& assignment) {
  const std::int64_t rows = assignment.rows(), experts = assignment.num_experts;
  MOTE_CHECK(assignment.gate_R.sizes() == at::IntArrayRef({rows}), "routes: ", rows,
             " rows have experts, gates are ", assignment.gate_R.sizes());
  const auto ints = [](std::int64_t count) { return torch::empty({count}, torch::kInt32); };
  const auto data = [](Tensor& x) { return x.mutable_data_ptr<std::int32_t>(); };
  SortedRoutes s{assignment.first_N1, ints(experts), ints(rows), ints(rows), ints(rows), {}};
  kernels::sort_routes({view_of<const std::int32_t, 1>(assignment.expert_R),
                        view_of<const std::int32_t, 1>(assignment.first_N1), experts,
                        data(s.ends_E), data(s.order_R), data(s.token_R), data(s.position_R)});
  static_assert(sizeof(kernels::RowBlock) == 3 * sizeof(std::int32_t));
  Tensor blocks = torch::empty({kernels::max_row_blocks(rows, experts), 3}, torch::kInt32);
  const std::int64_t count =
      kernels::make_row_blocks(s.ends_E.const_data_ptr<std::int32_t>(), experts,
                               reinterpret_cast<kernels::RowBlock*>(data(blocks)));
  s.blocks_B3 = blocks.narrow(0, 0, count);
  return s;
}

}  // namespace mote::model::ops
