#include "kernels/sequence/rotary/rotary.h"

#include <algorithm>

#include "base/check.h"

namespace mote::kernels {
namespace {

void reference(const Rotary& args, const Run&) {
  const auto [batch, positions, heads, width] = args.x_BTHC.sizes;
  const Index pairs = args.cos_PM.size(1);
  const bool adjacent = args.pairs == RotaryPairs::adjacent;
  for (Index b = 0; b < batch; ++b)
    for (Index t = 0; t < positions; ++t)
      for (Index h = 0; h < heads; ++h) {
        const float* x = rotary_row(args.x_BTHC, b, t) + h * args.x_BTHC.stride(2);
        float* y = rotary_row(args.y_BTHC, b, t) + h * args.y_BTHC.stride(2);
        const Index p = args.position_BT(b, t);
        for (Index m = 0; m < pairs; ++m) {
          const Index a = adjacent ? 2 * m : m, c = adjacent ? a + 1 : m + pairs;
          const auto xa = static_cast<double>(x[a]), xc = static_cast<double>(x[c]);
          const auto cos = static_cast<double>(args.cos_PM(p, m));
          const double sin = static_cast<double>(args.sin_PM(p, m)) * (args.back ? -1 : 1);
          y[a] = static_cast<float>(xa * cos - xc * sin);
          y[c] = static_cast<float>(xc * cos + xa * sin);
        }
        if (x != y) std::copy(x + 2 * pairs, x + width, y + 2 * pairs);
      }
}

constexpr Variant<Rotary> kVariants[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, rotary_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, rotary_avx512},
#endif
};

void check(const Rotary& args) {
  const auto [batch, positions, heads, width] = args.x_BTHC.sizes;
  MOTE_CHECK(args.y_BTHC.sizes == args.x_BTHC.sizes, "rotary: x and y differ in size, x has ",
             width, " columns a head");
  MOTE_CHECK(args.position_BT.size(0) == batch && args.position_BT.size(1) == positions,
             "rotary: positions are of ", args.position_BT.size(0), " x ", args.position_BT.size(1),
             " tokens, x of ", batch, " x ", positions);
  MOTE_CHECK(args.sin_PM.sizes == args.cos_PM.sizes && 2 * args.cos_PM.size(1) <= width,
             "rotary: tables of ", args.cos_PM.size(1), " and ", args.sin_PM.size(1),
             " pairs, a head has ", width, " columns");
  for (Index b = 0; b < batch; ++b)
    for (Index t = 0; t < positions; ++t)
      MOTE_CHECK(args.position_BT(b, t) >= 0 && args.position_BT(b, t) < args.cos_PM.size(0),
                 "rotary: token ", t, " stands at ", args.position_BT(b, t),
                 ", the tables have positions 0 to ", args.cos_PM.size(0) - 1);
}

}  // namespace

std::span<const Variant<Rotary>> rotary_variants() {
  return kVariants;
}

void rotary(const Rotary& args, const Run& run) {
  check(args);
  const auto& variant = select(rotary_variants(), run);
  const Index batch = args.x_BTHC.size(0), positions = args.x_BTHC.size(1);
  constexpr Index kPositions = 16;
  const Index parts = (positions + kPositions - 1) / kPositions;
  parallel_for(*run.executor, batch * parts, [&](Index item, int) {
    const Index b = item / parts, first = item % parts * kPositions,
                count = std::min(kPositions, positions - first);
    Rotary part = args;
    part.x_BTHC.data = rotary_row(args.x_BTHC, b, first);
    part.y_BTHC.data = rotary_row(args.y_BTHC, b, first);
    part.position_BT.data = &args.position_BT(b, first);
    for (auto* sizes : {&part.x_BTHC.sizes, &part.y_BTHC.sizes})
      (*sizes)[0] = 1, (*sizes)[1] = count;
    part.position_BT.sizes = {1, count};
    variant.call(part, run);
  });
}

}  // namespace mote::kernels
