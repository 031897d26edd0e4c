#include "kernels/linear/rows/rows.h"

#include <algorithm>

#include "base/check.h"

namespace mote::kernels {
namespace {

void combine_reference(const CombineRows& args, const Run&) {
  for (Index n = 0; n < args.y_ND.size(0); ++n)
    for (Index d = 0; d < args.y_ND.size(1); ++d) {
      double sum = args.add ? static_cast<double>(args.y_ND(n, d)) : 0;
      for (Index r = args.first_N1(n); r < args.first_N1(n + 1); ++r) {
        const float weight = args.weight_R ? args.weight_R[r] : 1;
        sum += static_cast<double>(weight) * static_cast<double>(args.p_RD(args.position_R(r), d));
      }
      args.y_ND(n, d) = static_cast<float>(sum);
    }
}

void relu_backward_reference(const ReluBackwardRows& args, const Run&) {
  for (Index r = 0; r < args.u_RG.size(0); ++r) {
    const std::int32_t flat = args.order[r];
    double dot = 0;
    for (Index g = 0; g < args.u_RG.size(1); ++g) {
      dot += static_cast<double>(args.t_RG(r, g)) * static_cast<double>(args.u_RG(r, g));
      args.t_RG(r, g) = args.u_RG(r, g) > 0 ? args.gate[flat] * args.t_RG(r, g) : 0;
    }
    args.dgate[flat] = static_cast<float>(dot);
  }
}

constexpr Variant<CombineRows> kCombine[] = {
    {Isa::reference, combine_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, combine_rows_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, combine_rows_avx512},
#endif
};

constexpr Variant<ReluBackwardRows> kReluBackward[] = {
    {Isa::reference, relu_backward_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, relu_backward_rows_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, relu_backward_rows_avx512},
#endif
};

}  // namespace

std::span<const Variant<CombineRows>> combine_rows_variants() {
  return kCombine;
}
std::span<const Variant<ReluBackwardRows>> relu_backward_rows_variants() {
  return kReluBackward;
}

void combine_rows(const CombineRows& args, const Run& run) {
  const Index rows = args.position_R.size(0), tokens = args.y_ND.size(0);
  MOTE_CHECK(args.first_N1.size(0) == tokens + 1, "combine_rows: first of ",
             args.first_N1.size(0) - 1, " tokens, y has ", tokens);
  MOTE_CHECK(args.first_N1(tokens) == rows && args.p_RD.size(0) == rows,
             "combine_rows: first ends ", "at row ", args.first_N1(tokens), ", p has ",
             args.p_RD.size(0), " rows, positions ", rows);
  MOTE_CHECK(args.p_RD.size(1) == args.y_ND.size(1), "combine_rows: p has ", args.p_RD.size(1),
             " columns, y ", args.y_ND.size(1));
  const auto& variant = select(combine_rows_variants(), run);
  constexpr Index kTokens = 64;
  parallel_for(*run.executor, (tokens + kTokens - 1) / kTokens, [&](Index item, int) {
    const Index first = item * kTokens;
    CombineRows part = args;
    part.y_ND.data = args.y_ND.row(first);
    part.y_ND.sizes[0] = std::min(kTokens, tokens - first);
    part.first_N1.data = args.first_N1.data + first;
    variant.call(part, run);
  });
}

void relu_backward_rows(const ReluBackwardRows& args, const Run& run) {
  select(relu_backward_rows_variants(), run).call(args, run);
}

}  // namespace mote::kernels
