#include "model/ops/rotary.h"

#include "base/scratch.h"
#include "model/ops/bridge.h"
#include "model/ops/timing.h"

namespace mote::model::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Turn {
  std::int64_t heads, first;
  RotaryRows rows;
  kernels::RotaryPairs pairs;
  bool back = false;
};

template <class T>
kernels::View<T, 4> in_heads(const Tensor& x_BTI, std::int64_t heads) {
  const std::int64_t width = x_BTI.size(2) / heads;
  return {const_cast<std::remove_const_t<T>*>(x_BTI.const_data_ptr<float>()),
          {x_BTI.size(0), x_BTI.size(1), heads, width},
          {x_BTI.stride(0), x_BTI.stride(1), width, 1}};
}

void turn(const Tensor& x, const Turn& how, Tensor& y, const kernels::Run& run) {
  const std::int64_t batch = x.size(0), positions = x.size(1);
  Scratch scratch;
  auto* position = scratch.take<std::int32_t>(positions);
  for (std::int64_t t = 0; t < positions; ++t)
    position[t] = static_cast<std::int32_t>(how.first + t);
  kernels::Rotary args;
  args.x_BTHC = in_heads<const float>(x, how.heads);
  args.position_BT = {position, {batch, positions}, {0, 1}};
  args.cos_PM = view_of<const float, 2>(how.rows.cos_PM);
  args.sin_PM = view_of<const float, 2>(how.rows.sin_PM);
  args.pairs = how.pairs;
  args.back = how.back;
  args.y_BTHC = in_heads<float>(y, how.heads);
  kernels::rotary(args, run);
}

struct RotaryOp : torch::autograd::Function<RotaryOp> {
  static Tensor forward(AutogradContext* saved, const Tensor& x, const Turn& how,
                        const Pass& pass) {
    Tensor y = torch::empty(x.sizes(), torch::kFloat32);
    turn(x, how, y, pass.run);
    saved->save_for_backward({how.rows.cos_PM, how.rows.sin_PM});
    saved->saved_data["turn"] =
        std::vector<std::int64_t>{how.heads, how.first, static_cast<std::int64_t>(how.pairs)};
    remember(saved, pass.run);
    return y;
  }
  static variable_list backward(AutogradContext* saved, const variable_list& grads) {
    const auto t = saved->get_saved_variables();
    const auto numbers = saved->saved_data["turn"].toIntVector();
    const Tensor dy = unit_stride(grads[0]);
    Tensor dx = torch::empty(dy.sizes(), torch::kFloat32);
    turn(
        dy,
        {numbers[0], numbers[1], {t[0], t[1]}, static_cast<kernels::RotaryPairs>(numbers[2]), true},
        dx, recall_run(saved));
    return {dx, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rotary(const Tensor& x_any, std::int64_t heads, std::int64_t first, const RotaryRows& rows,
              kernels::RotaryPairs pairs, const Pass& pass) {
  const Timed timed(pass, "rotary");
  const Tensor x = unit_stride(x_any);
  const Turn how{heads, first, rows, pairs};
  if (recording({&x})) return RotaryOp::apply(x, how, pass);
  Tensor y = output(x.sizes(), pass);
  turn(x, how, y, pass.run);
  return y;
}

}  // namespace mote::model::ops
