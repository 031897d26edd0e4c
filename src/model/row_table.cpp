#include "model/row_table.h"

#include <ATen/ops/_unique.h>

#include "base/check.h"

namespace mote::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Sums of the rows of `grad_MD` that have the same index.
RowGradient coalesced(const Tensor& index_M, const Tensor& grad_MD) {
  const auto [rows, place] = at::_unique(index_M, /*sorted=*/true, /*return_inverse=*/true);
  return {rows, torch::zeros({rows.size(0), grad_MD.size(1)}, grad_MD.options())
                    .index_add_(0, place, grad_MD)};
}

// `anchor` requires a gradient, so that autograd calls backward; it never gets one.
struct GatherRows : torch::autograd::Function<GatherRows> {
  static Tensor forward(AutogradContext* saved, const Tensor& /*anchor*/, const Tensor& index,
                        RowTable* table) {
    saved->save_for_backward({index});
    saved->saved_data["table"] = reinterpret_cast<std::int64_t>(table);
    return torch::embedding(table->values(), index);
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    auto* table = reinterpret_cast<RowTable*>(saved->saved_data["table"].toInt());
    const Tensor index = saved->get_saved_variables()[0].reshape({-1});
    table->gradients().push_back(coalesced(index, grads[0].reshape({index.size(0), -1})));
    return {Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

RowTable::RowTable(std::string name, Tensor values_ND)
    : name_(std::move(name)), values_ND_(std::move(values_ND)) {
  MOTE_CHECK(values_ND_.dim() == 2 && values_ND_.is_contiguous(), name_,
             ": a row table needs a contiguous matrix, not one of ", values_ND_.dim(), " axes");
}

Tensor RowTable::gather(const Tensor& index) {
  if (updater_) {
    const torch::NoGradGuard no_grad;
    updater_->catch_up(*this, std::get<0>(at::_unique(index.reshape({-1}), true, false)));
  }
  if (!torch::GradMode::is_enabled()) return torch::embedding(values_ND_, index);
  return GatherRows::apply(torch::empty({0}).requires_grad_(), index, this);
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
