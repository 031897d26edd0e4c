#include "kernels/linear/gemm/gemm.h"

#include "base/scratch.h"
#include "kernels/core/dtype.h"
#include "kernels/linear/gemm/gemm_blocking.h"

namespace mote::kernels {
namespace {

float element(const Operand& x, Index outer, Index inner, Precision precision) {
  const Index row = x.rows == Rows::outer ? outer : inner;
  const Index column = x.rows == Rows::outer ? inner : outer;
  float value = x.data[(x.pick ? x.pick[row] : row) * x.stride + column];
  if (x.scale) value *= x.scale[row];
  return precision == Precision::bf16 ? from_bf16(to_bf16(value)) : value;
}

void reference(const Gemm& args, const Run&) {
  for (Index i = 0; i < args.m; ++i)
    for (Index j = 0; j < args.n; ++j) {
      float& c = args.c[i * args.c_stride + j];
      double sum = args.accumulate ? static_cast<double>(c) : 0;
      for (Index k = 0; k < args.k; ++k)
        sum += static_cast<double>(element(args.a, i, k, args.precision)) *
               static_cast<double>(element(args.b, j, k, args.precision));
      if (args.bias) sum += static_cast<double>(args.bias[j]);
      c = static_cast<float>(args.relu && sum < 0 ? 0 : sum);
    }
}

// Unused in a build without vector variants.
template <void (*block)(const Gemm&, float*)>
[[maybe_unused]] void with_scratch(const Gemm& args, const Run&) {
  Scratch scratch;
  block(args, scratch.take<float>((kMaxRows + kMaxColumns + 2 * kPanelSlack) * kDepth));
}

constexpr Variant<Gemm> kF32[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, with_scratch<gemm_avx2>},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, with_scratch<gemm_avx512>},
#endif
};

constexpr Variant<Gemm> kBf16[] = {
    {Isa::reference, reference},
#if MOTE_WITH_AVX512
    {Isa::avx512_bf16, with_scratch<gemm_avx512_bf16>},
#endif
};

}  // namespace

std::span<const Variant<Gemm>> gemm_variants(Precision precision) {
  if (precision == Precision::bf16) return kBf16;
  return kF32;
}

const Variant<Gemm>& gemm_variant(const Gemm& like, const Run& run) {
  return select(gemm_variants(like.precision), run);
}

void gemm(const Gemm& args, const Run& run) {
  gemm_variant(args, run).call(args, run);
}

}  // namespace mote::kernels
