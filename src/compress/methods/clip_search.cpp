#include "compress/methods/clip_search.h"

#include "compress/methods/rounding.h"
#include "model/ops/bridge.h"

namespace mote::compress {
namespace {

using model::ops::view_of;

// The values that symbols on these levels stand for.
Tensor values_of(const Tensor& symbols_EOI, const Tensor& levels_EO2, Bits bits) {
  const Tensor first = levels_EO2.select(2, 0).unsqueeze(2),
               second = levels_EO2.select(2, 1).unsqueeze(2);
  if (bits == Bits::two) return first * (symbols_EOI.to(torch::kFloat32) - second);
  return torch::where(symbols_EOI.eq(1), first,
                      torch::where(symbols_EOI.eq(2), second, torch::zeros({1})));
}

}  // namespace

Tensor search_levels(const Tensor& w_EOI, const Statistics& statistics,
                     const MethodOptions& options, const model::Pass& pass) {
  const Tensor moments_E1I =
      statistics.second_moments_EII.diagonal(0, 1, 2).unsqueeze(1).nan_to_num(1, 1, 1);
  Tensor best_levels_EO2, best_error_EO;
  for (int step = 0; step <= 14; ++step) {
    const double share = 1 - 0.05 * step;
    // Levels of a row follow from its extremes: clip the row first.
    const Tensor low = (w_EOI.amin(2, true) * share).clamp_max(0),
                 high = (w_EOI.amax(2, true) * share).clamp_min(0);
    const Tensor clipped_EOI = torch::minimum(torch::maximum(w_EOI, low), high).contiguous();
    const Tensor levels_EO2 = row_levels(clipped_EOI, options.bits, pass);
    Tensor symbols_EOI = torch::empty(w_EOI.sizes(), torch::kUInt8);
    kernels::round_to_nearest(
        {view_of<const float, 3>(w_EOI), grid_of(options.bits), view_of<const float, 3>(levels_EO2),
         view_of<std::uint8_t, 3>(symbols_EOI)},
        pass.run);
    const Tensor error_EO =
        ((w_EOI - values_of(symbols_EOI, levels_EO2, options.bits)).square() * moments_E1I).sum(2);
    if (step == 0) {
      best_levels_EO2 = levels_EO2, best_error_EO = error_EO;
      continue;
    }
    const Tensor better_EO = error_EO < best_error_EO;
    best_levels_EO2 = torch::where(better_EO.unsqueeze(2), levels_EO2, best_levels_EO2);
    best_error_EO = torch::where(better_EO, error_EO, best_error_EO);
  }
  return best_levels_EO2.contiguous();
}

}  // namespace mote::compress
