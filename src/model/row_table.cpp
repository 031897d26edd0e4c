#include "model/row_table.h"

#include <ATen/ops/_unique.h>

#include "base/check.h"
#include "base/memory_pages.h"

namespace mote::model {
namespace {

// Sums of the rows of `grad_MD` that have the same index.
RowGradient coalesced(const Tensor& index_M, const Tensor& grad_MD) {
  const auto [rows, place] = at::_unique(index_M, /*sorted=*/true, /*return_inverse=*/true);
  return {rows, torch::zeros({rows.size(0), grad_MD.size(1)}, grad_MD.options())
                    .index_add_(0, place, grad_MD)};
}

}  // namespace

Tensor table_memory(const std::vector<std::int64_t>& shape, torch::ScalarType type) {
  Tensor memory = torch::empty(shape, type);
  use_huge_pages(memory.mutable_data_ptr(), memory.nbytes());
  return memory;
}

RowTable::RowTable(std::string name, Tensor values_ND)
    : name_(std::move(name)), values_ND_(std::move(values_ND)) {
  MOTE_CHECK(values_ND_.dim() == 2 && values_ND_.is_contiguous(), name_,
             ": a row table needs a contiguous matrix, not one of ", values_ND_.dim(), " axes");
  MOTE_CHECK(
      values_ND_.scalar_type() == torch::kFloat32 || values_ND_.scalar_type() == torch::kBFloat16,
      name_, ": a row table is float32 or bfloat16, not ",
      torch::toString(values_ND_.scalar_type()));
}

RowTablePtr copied(const RowTable& table, torch::ScalarType type) {
  return std::make_shared<RowTable>(
      table.name(), table_memory(table.values().sizes().vec(), type).copy_(table.values()));
}

RowGradient RowTable::take_gradient() {
  std::vector<RowGradient> parts = std::move(gradients_);
  gradients_.clear();
  if (parts.size() < 2) return parts.empty() ? RowGradient{} : parts.front();
  std::vector<Tensor> rows, grads;
  for (const RowGradient& part : parts) rows.push_back(part.rows_N), grads.push_back(part.grad_ND);
  return coalesced(torch::cat(rows), torch::cat(grads));
}

}  // namespace mote::model
