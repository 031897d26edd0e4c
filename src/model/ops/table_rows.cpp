#include "model/ops/table_rows.h"

#include "base/check.h"
#include "kernels/lookup/table_rows/table_rows.h"
#include "kernels/routing/sort/sort.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const std::int32_t* ints(const Tensor& x) {
  return x.const_data_ptr<std::int32_t>();
}

kernels::Table table_over(const Tensor& values_ND) {
  return {values_ND.const_data_ptr(), values_ND.size(0), values_ND.size(1), values_ND.stride(0),
          table_type(values_ND)};
}

Tensor dots(const Tensor& x_ND, const Tensor& values, const RowPicks& picks,
            const kernels::Run& run) {
  Tensor a_NK = torch::empty(picks.index_NK().sizes(), torch::kFloat32);
  kernels::row_dots({table_over(values), ints(picks.index_NK()), picks.index_NK().size(1),
                     view_of<const float, 2>(x_ND), a_NK.mutable_data_ptr<float>()},
                    run);
  return a_NK;
}

Tensor sums(const Tensor& weight_NK, const Tensor& values, const RowPicks& picks,
            const kernels::Run& run) {
  Tensor y_ND = torch::empty({weight_NK.size(0), values.size(1)}, torch::kFloat32);
  kernels::row_sums({table_over(values), ints(picks.index_NK()), picks.index_NK().size(1), nullptr,
                     weight_NK.const_data_ptr<float>(), view_of<float, 2>(y_ND)},
                    run);
  return y_ND;
}

// For every row of a table the sum of weight * x over the pairs that picked it.
RowGradient gradient_of_table(const Tensor& weight_NK, const Tensor& x_ND, const RowPicks& picks,
                              const kernels::Run& run) {
  const RowPicks::Sorted& sorted = picks.sorted();
  const Tensor weight_P = weight_NK.view(-1).index_select(0, sorted.pair_P);
  RowGradient g{sorted.rows_U, torch::empty({sorted.rows_U.size(0), x_ND.size(1)})};
  kernels::row_sums({table_over(x_ND), ints(sorted.token_P), 0, ints(sorted.first_U1),
                     weight_P.const_data_ptr<float>(), view_of<float, 2>(g.grad_ND)},
                    run);
  return g;
}

// What backward needs beside tensors.
struct TableCall : torch::CustomClassHolder {
  TableCall(RowTablePtr t, const RowPicks& p, const kernels::Run& r)
      : table(std::move(t)), picks(p), run(r) {}
  const RowTablePtr table;
  const RowPicks picks;
  const kernels::Run run;
};

// Keeps the call's memory for as long as the result lives.
struct SavedCall {
  explicit SavedCall(AutogradContext* saved) : holder(saved->saved_data["call"].toCapsule()) {}
  const TableCall* operator->() const { return static_cast<const TableCall*>(holder.get()); }
  c10::intrusive_ptr<torch::CustomClassHolder> holder;
};

// `anchor` requires a gradient, so that autograd calls backward even where x needs none; it never
// gets one.
struct RowDotsOp : torch::autograd::Function<RowDotsOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& /*anchor*/, const Tensor& x_ND,
                        c10::intrusive_ptr<TableCall> call) {
    saved->save_for_backward({x_ND});
    saved->saved_data["call"] = torch::IValue::make_capsule(call);
    return dots(x_ND, call->table->values(), call->picks, call->run);
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const SavedCall call(saved);
    const Tensor x_ND = saved->get_saved_variables()[0], da_NK = grads[0].contiguous();
    call->table->gradients().push_back(gradient_of_table(da_NK, x_ND, call->picks, call->run));
    return {Tensor(), sums(da_NK, call->table->values(), call->picks, call->run), Tensor()};
  }
};

struct RowSumsOp : torch::autograd::Function<RowSumsOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& /*anchor*/, const Tensor& weight_NK,
                        c10::intrusive_ptr<TableCall> call) {
    saved->save_for_backward({weight_NK});
    saved->saved_data["call"] = torch::IValue::make_capsule(call);
    return sums(weight_NK, call->table->values(), call->picks, call->run);
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const SavedCall call(saved);
    const Tensor weight_NK = saved->get_saved_variables()[0], dy_ND = grads[0].contiguous();
    call->table->gradients().push_back(gradient_of_table(weight_NK, dy_ND, call->picks, call->run));
    return {Tensor(), dots(dy_ND, call->table->values(), call->picks, call->run), Tensor()};
  }
};

void prepare(const RowTablePtr& table, const RowPicks& picks) {
  MOTE_CHECK(table->values().size(0) == picks.table_rows(), table->name(), ": picks are of ",
             picks.table_rows(), " rows, the table has ", table->values().size(0));
  if (!table->updater()) return;
  const torch::NoGradGuard no_grad;
  table->updater()->catch_up(*table, picks.sorted().rows_U);
}

}  // namespace

kernels::Type table_type(const Tensor& values) {
  MOTE_CHECK(values.scalar_type() == torch::kFloat32 || values.scalar_type() == torch::kBFloat16,
             "tables are float32 or bfloat16, not ", torch::toString(values.scalar_type()));
  return values.scalar_type() == torch::kFloat32 ? kernels::Type::f32 : kernels::Type::bf16;
}

RowPicks::RowPicks(Tensor index_NK, std::int64_t table_rows)
    : index_NK_(index_NK.contiguous()),
      table_rows_(table_rows),
      sorted_(std::make_shared<Sorted>()) {
  const std::int32_t* index = ints(index_NK_);
  for (std::int64_t p = 0; p < index_NK_.numel(); ++p)
    MOTE_CHECK(index[p] >= 0 && index[p] < table_rows, "row ", index[p], " of a table of ",
               table_rows);
}

const RowPicks::Sorted& RowPicks::sorted() const {
  Sorted& s = *sorted_;
  if (s.rows_U.defined()) return s;
  const std::int64_t tokens = index_NK_.size(0), per_token = index_NK_.size(1);
  const std::int64_t pairs = tokens * per_token;
  const auto empty = [](std::int64_t count) { return torch::empty({count}, torch::kInt32); };
  const auto data = [](Tensor& x) { return x.mutable_data_ptr<std::int32_t>(); };
  Tensor first = torch::arange(tokens + 1, torch::kInt32) * per_token, ends = empty(table_rows_),
         position = empty(pairs);
  s.pair_P = empty(pairs), s.token_P = empty(pairs);
  kernels::sort_routes({kernels::view(ints(index_NK_), pairs),
                        view_of<const std::int32_t, 1>(first), table_rows_, data(ends),
                        data(s.pair_P), data(s.token_P), data(position)});
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> firsts = {0};
  const std::int32_t* end = ints(ends);
  for (std::int64_t row = 0; row < table_rows_; ++row)
    if (end[row] > firsts.back()) rows.push_back(row), firsts.push_back(end[row]);
  s.first_U1 = torch::tensor(firsts, torch::kInt32);
  s.rows_U = torch::tensor(rows, torch::kInt64);
  return s;
}

Tensor row_dots(const Tensor& x_ND, const RowTablePtr& table, const RowPicks& picks,
                const Pass& pass) {
  const Timed timed(pass, "row_dots");
  prepare(table, picks);
  const Tensor x = unit_stride(x_ND);
  if (!torch::GradMode::is_enabled()) return dots(x, table->values(), picks, pass.run);
  return RowDotsOp::apply(torch::empty({0}).requires_grad_(), x,
                          c10::make_intrusive<TableCall>(table, picks, pass.run));
}

Tensor row_sums(const Tensor& weight_NK, const RowTablePtr& table, const RowPicks& picks,
                const Pass& pass) {
  const Timed timed(pass, "row_sums");
  prepare(table, picks);
  MOTE_CHECK(weight_NK.sizes() == picks.index_NK().sizes(), table->name(), ": weights are ",
             weight_NK.sizes(), ", picks ", picks.index_NK().sizes());
  const Tensor weight = weight_NK.contiguous();
  if (!torch::GradMode::is_enabled()) return sums(weight, table->values(), picks, pass.run);
  return RowSumsOp::apply(torch::empty({0}).requires_grad_(), weight,
                          c10::make_intrusive<TableCall>(table, picks, pass.run));
}

}  // namespace mote::model::ops
