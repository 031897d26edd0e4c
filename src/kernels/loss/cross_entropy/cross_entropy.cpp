#include "kernels/loss/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <cmath>

namespace mote::kernels {
namespace {

void reference(const CrossEntropyRow& args, const Run&) {
  const auto largest = static_cast<double>(*std::max_element(args.x, args.x + args.n));
  double sum = 0;
  for (Index v = 0; v < args.n; ++v) sum += std::exp(static_cast<double>(args.x[v]) - largest);
  const double lse = largest + std::log(sum);
  *args.loss = static_cast<float>(lse - static_cast<double>(args.x[args.target]));
  if (!args.gradient) return;
  for (Index v = 0; v < args.n; ++v) {
    const double p = std::exp(static_cast<double>(args.x[v]) - lse) - (v == args.target ? 1 : 0);
    args.x[v] = static_cast<float>(static_cast<double>(args.scale) * p);
  }
}

constexpr Variant<CrossEntropyRow> kVariants[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, cross_entropy_row_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, cross_entropy_row_avx512},
#endif
};

}  // namespace

std::span<const Variant<CrossEntropyRow>> cross_entropy_row_variants() {
  return kVariants;
}

}  // namespace mote::kernels
