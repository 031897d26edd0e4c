#include "kernels/sequence/softmax/softmax.h"

#include <algorithm>
#include <cmath>

namespace mote::kernels {
namespace {

double logit(const float* x, const float* y, Index j, float scale) {
  return static_cast<double>(scale) *
         (static_cast<double>(x[j]) + (y ? static_cast<double>(y[j]) : 0));
}

void reference(const SoftmaxRow& args, const Run&) {
  double largest = logit(args.x, args.y, args.begin, args.scale), sum = 0;
  for (Index j = args.begin; j < args.end; ++j)
    largest = std::max(largest, logit(args.x, args.y, j, args.scale));
  for (Index j = args.begin; j < args.end; ++j)
    sum += std::exp(logit(args.x, args.y, j, args.scale) - largest);
  const double lse = largest + std::log(sum);
  for (Index j = 0; j < args.n; ++j) {
    const bool visible = j >= args.begin && j < args.end;
    args.x[j] =
        visible ? static_cast<float>(std::exp(logit(args.x, args.y, j, args.scale) - lse)) : 0;
  }
  *args.lse = static_cast<float>(lse);
}

void backward_reference(const SoftmaxBackwardRow& args, const Run&) {
  const auto p = [&](Index j) {
    return std::exp(logit(args.x, args.y, j, args.scale) - static_cast<double>(args.lse));
  };
  // Divided by their own sum, since the lse is rounded to float32.
  double mean = 0, sum = 0, dscale = 0;
  for (Index j = args.begin; j < args.end; ++j) {
    mean += p(j) * static_cast<double>(args.dp[j]);
    sum += p(j);
  }
  mean /= sum;
  for (Index j = 0; j < args.n; ++j) {
    if (j < args.begin || j >= args.end) {
      args.x[j] = args.dp[j] = 0;
      continue;
    }
    const double pj = p(j) / sum, ds = pj * (static_cast<double>(args.dp[j]) - mean);
    dscale += ds * logit(args.x, args.y, j, 1);
    args.x[j] = static_cast<float>(pj);
    args.dp[j] = static_cast<float>(static_cast<double>(args.scale) * ds);
  }
  *args.dscale += static_cast<float>(dscale);
}

constexpr Variant<SoftmaxRow> kForward[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, softmax_row_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, softmax_row_avx512},
#endif
};

constexpr Variant<SoftmaxBackwardRow> kBackward[] = {
    {Isa::reference, backward_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, softmax_backward_row_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, softmax_backward_row_avx512},
#endif
};

}  // namespace

std::span<const Variant<SoftmaxRow>> softmax_row_variants() {
  return kForward;
}
std::span<const Variant<SoftmaxBackwardRow>> softmax_backward_row_variants() {
  return kBackward;
}

}  // namespace mote::kernels
