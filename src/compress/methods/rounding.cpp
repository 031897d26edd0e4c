#include "compress/methods/rounding.h"

#include <cmath>

#include "base/check.h"
#include "compress/methods/second_order.h"
#include "kernels/packed/coder.h"
#include "model/ops/bridge.h"
#include "model/packed_weight.h"

namespace mote::compress {
namespace {

using model::ops::view_of;

// Zeros, and the entropy of the symbols of each matrix times its size.
void count_symbols(const Tensor& symbols_EOI, const Tensor& levels_EO2, Bits bits,
                   MethodResult& result) {
  const auto symbols = view_of<const std::uint8_t, 3>(symbols_EOI);
  const auto levels = view_of<const float, 3>(levels_EO2);
  for (kernels::Index e = 0; e < symbols.size(0); ++e) {
    std::array<std::int64_t, 4> count{};
    for (kernels::Index row = 0; row < symbols.size(1); ++row) {
      // The code of 0 is the row's zero point in two bits.
      const int zero = bits == Bits::ternary ? 0 : static_cast<int>(levels(e, row, 1));
      for (kernels::Index column = 0; column < symbols.size(2); ++column) {
        const int symbol = symbols(e, row, column);
        ++count[static_cast<std::size_t>(symbol)];
        result.zeros += symbol == zero;
      }
    }
    const auto total = static_cast<double>(symbols.size(1) * symbols.size(2));
    for (const std::int64_t n : count)
      if (n > 0)
        result.entropy_bits -= static_cast<double>(n) * std::log2(static_cast<double>(n) / total);
  }
}

// Whether every value that symbols on these levels may stand for is finite: in two bits scale *
// (code - zero) goes further than the scale.
bool holds(const Tensor& levels_EO2, Bits bits) {
  if (bits == Bits::ternary) return levels_EO2.isfinite().all().item<bool>();
  const Tensor scale_EO = levels_EO2.select(2, 0), zero_EO = levels_EO2.select(2, 1);
  return (scale_EO * zero_EO).isfinite().all().item<bool>() &&
         (scale_EO * (3 - zero_EO)).isfinite().all().item<bool>();
}

}  // namespace

kernels::Grid grid_of(Bits bits) {
  return bits == Bits::ternary ? kernels::Grid::ternary : kernels::Grid::two_bit;
}

Tensor row_levels(const Tensor& w_EOI, Bits bits, const model::Pass& pass) {
  Tensor levels_EO2 = torch::empty({w_EOI.size(0), w_EOI.size(1), 2}, torch::kFloat32);
  kernels::row_levels(
      {view_of<const float, 3>(w_EOI), grid_of(bits), true, view_of<float, 3>(levels_EO2)},
      pass.run);
  return levels_EO2;
}

Tensor as_stack(const model::Weight& weight) {
  const Tensor dense = weight.to_dense().detach();
  return (dense.dim() == 3 ? dense : dense.unsqueeze(0)).contiguous();
}

void check_levels(const Tensor& levels_EO2, Bits bits, const Tensor& w_EOI,
                  const std::string& name) {
  if (!holds(levels_EO2, bits))
    throw_overflow("what is stored of them, levels in bfloat16, overflows", w_EOI, name);
}

void throw_overflow(const std::string& what, const Tensor& w_EOI, const std::string& name) {
  throw Error(ErrorKind::numeric,
              concat("'", name, "' has weights up to ", w_EOI.abs().max().item<float>(), ": ", what,
                     "; the model is damaged or diverged in training: take another checkpoint"))
      .at(name);
}

void pack(const Tensor& symbols_EOI, const Tensor& levels_EO2, Bits bits,
          const model::WeightShape& shape, const std::string& name, const model::Pass& pass,
          MethodResult& result) {
  count_symbols(symbols_EOI, levels_EO2, bits, result);
  const auto stack = std::make_shared<const kernels::PackedStack>(
      kernels::coder_of(grid_of(bits))
          .encode(view_of<const std::uint8_t, 3>(symbols_EOI), view_of<const float, 3>(levels_EO2),
                  *pass.run.executor));
  result.weight = model::make_packed_weight(stack->view(), stack, name, shape.stacked);
}

MethodResult RoundToNearest::compress(const model::Weight& weight, const Statistics&,
                                      const std::string& name, const model::Pass& pass) const {
  const Tensor w_EOI = as_stack(weight);
  const Tensor levels_EO2 =
      naming(name, w_EOI, [&] { return row_levels(w_EOI, options_.bits, pass); });
  check_levels(levels_EO2, options_.bits, w_EOI, name);
  Tensor symbols_EOI = torch::empty(w_EOI.sizes(), torch::kUInt8);
  kernels::round_to_nearest(
      {view_of<const float, 3>(w_EOI), grid_of(options_.bits), view_of<const float, 3>(levels_EO2),
       view_of<std::uint8_t, 3>(symbols_EOI)},
      pass.run);
  MethodResult result;
  pack(symbols_EOI, levels_EO2, options_.bits, weight.shape(), name, pass, result);
  result.error = (w_EOI - as_stack(*result.weight)).square().sum(torch::kFloat64).item<double>();
  result.calibrated_E.resize(static_cast<std::size_t>(w_EOI.size(0)));
  return result;
}

std::unique_ptr<Method> make_method(MethodKind kind, const MethodOptions& options) {
  switch (kind) {
    case MethodKind::gptq:
      return std::make_unique<SecondOrder>(options);
    case MethodKind::rtn:
      return std::make_unique<RoundToNearest>(options);
  }
  return nullptr;
}

}  // namespace mote::compress
