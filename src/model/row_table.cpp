#include "model/row_table.h"

#include <ATen/ops/_unique.h>

#include "base/check.h"

namespace mote::model {
namespace {

// Sums of the rows of `grad_MD` that have the same index.
RowGradient coalesced(const Tensor& index_M, const Tensor& grad_MD) {
  const auto [rows, place] = at::_unique(index_M, /*sorted=*/true, /*return_inverse=*/true);
  return {rows, torch::zeros({rows.size(0), grad_MD.size(1)}, grad_MD.options())
                    .index_add_(0, place, grad_MD)};
}

}  // namespace

RowTable::RowTable(std::string name, Tensor values_ND)
    : name_(std::move(name)), values_ND_(std::move(values_ND)) {
  MOTE_CHECK(values_ND_.dim() == 2 && values_ND_.is_contiguous(), name_,
             ": a row table needs a contiguous matrix, not one of ", values_ND_.dim(), " axes");
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
