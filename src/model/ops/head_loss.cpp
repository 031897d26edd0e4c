#include "model/ops/head_loss.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/loss/cross_entropy/cross_entropy.h"
#include "kernels/loss/head_loss/head_loss.h"
#include "model/ops/bridge.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The gradients that somebody waits for.
struct Wanted {
  bool x, weight, bias;
};

struct HeadLossOp : torch::autograd::Function<HeadLossOp> {
  // Gradients of the mean are made together with it and only scaled in backward.
  static variable_list forward(AutogradContext* saved, const Tensor& x, const Tensor& weight,
                               const std::optional<Tensor>& bias_any, const Tensor& targets,
                               const Pass& pass, const Wanted& wanted) {
    const Tensor x_ND = unit_stride(x), weight_VD = unit_stride(weight),
                 target_N = targets.contiguous();
    const Tensor bias = bias_any ? bias_any->contiguous() : Tensor();
    const std::int64_t rows = x_ND.size(0), vocabulary = weight_VD.size(0);
    const auto counted =
        static_cast<float>(std::max<std::int64_t>(1, target_N.ge(0).sum().item<std::int64_t>()));
    Tensor each = torch::empty({rows}, x.options());
    Tensor dx, dw, db;
    kernels::HeadLoss args;
    args.x_ND = view_of<const float, 2>(x_ND);
    args.weight_VD = view_of<const float, 2>(weight_VD);
    if (bias.defined()) args.bias_V = bias.const_data_ptr<float>();
    args.target_N = target_N.const_data_ptr<std::int64_t>();
    args.loss_N = each.mutable_data_ptr<float>();
    if (wanted.x) {
      dx = torch::empty(x_ND.sizes(), x.options());
      args.dx_ND = view_of<float, 2>(dx);
    }
    if (wanted.weight) {
      dw = torch::empty(weight_VD.sizes(), x.options());
      args.dweight_VD = view_of<float, 2>(dw);
    }
    if (wanted.bias) {
      db = torch::empty({vocabulary}, x.options());
      args.dbias_V = db.mutable_data_ptr<float>();
    }
    args.scale = 1 / counted;
    args.precision = pass.precision;
    kernels::head_loss(args, pass.run);
    saved->save_for_backward({dx, dw, db});
    saved->mark_non_differentiable({each});
    return {(each.sum(torch::kFloat64) / static_cast<double>(counted)).to(torch::kFloat32), each};
  }

  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto made = saved->get_saved_variables();
    const auto scaled = [&](const Tensor& g) { return g.defined() ? g.mul_(grads[0]) : g; };
    return {scaled(made[0]), scaled(made[1]), scaled(made[2]), Tensor(), Tensor(), Tensor()};
  }
};

// Of a weight that is multiplied where it lies, without gradients: some rows of logits at a time.
HeadLossResult loss_in_place(const Tensor& x_ND, const Weight& weight, const Tensor& bias_V,
                             const Tensor& targets_N, const Pass& pass) {
  constexpr std::int64_t kMostLogits = 1 << 24;
  const std::int64_t rows = x_ND.size(0), vocabulary = weight.shape().out;
  const std::int64_t step =
      std::clamp<std::int64_t>(kMostLogits / vocabulary, 16, kernels::kHeadRows);
  const Tensor target_N = targets_N.contiguous();
  const auto* targets = target_N.const_data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < rows; ++n)
    MOTE_CHECK(targets[n] < vocabulary, "head_loss: target ", targets[n], " of ", vocabulary);
  const auto& cross_entropy = kernels::select(kernels::cross_entropy_row_variants(), pass.run);
  Tensor each = torch::zeros({rows}, torch::kFloat32);
  float* loss = each.mutable_data_ptr<float>();
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t count = std::min(step, rows - first);
    Tensor logits =
        weight.multiply(x_ND.narrow(0, first, count), bias_V, kernels::Activation::none, pass);
    float* data = logits.mutable_data_ptr<float>();
    parallel_for(*pass.run.executor, count, [&](std::int64_t i, int) {
      if (targets[first + i] >= 0)
        cross_entropy.call(
            {data + i * vocabulary, vocabulary, targets[first + i], false, 1, loss + first + i},
            pass.run);
    });
  }
  const auto counted =
      static_cast<double>(std::max<std::int64_t>(1, targets_N.ge(0).sum().item<std::int64_t>()));
  return {(each.sum(torch::kFloat64) / counted).to(torch::kFloat32), each};
}

}  // namespace

HeadLossResult head_loss(const Tensor& x_ND, const WeightPtr& weight, const Tensor& bias_V,
                         const Tensor& targets_N, const Pass& pass) {
  if (!weight->stored().defined() && !recording({&x_ND, &bias_V}))
    return loss_in_place(x_ND, *weight, bias_V, targets_N, pass);
  const Tensor weight_VD = weight->to_dense();
  const Wanted wanted{recording({&x_ND}), recording({&weight_VD}), recording({&bias_V})};
  const auto results =
      HeadLossOp::apply(x_ND, weight_VD, optional(bias_V), targets_N, pass, wanted);
  return {results[0], results[1]};
}

}  // namespace mote::model::ops
