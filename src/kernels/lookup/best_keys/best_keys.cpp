#include "kernels/lookup/best_keys/best_keys.h"

#include <vector>

#include "kernels/routing/topk/topk.h"

namespace mote::kernels {
namespace {

// The definition scores all keys, from what they are: there is nothing to lay out.
void lay_out_reference(const LayOutKeys& args, const Run&) {
  *reinterpret_cast<float*>(args.to + KeyLayout::share()) = 0;
}

void best_keys_reference(const BestKeys& args, const Run&) {
  const Index n = args.keys_NC.size(0), k = args.row_MK.size(1);
  std::vector<float> scores(static_cast<std::size_t>(n));
  for (Index m = 0; m < args.q_MC.size(0); ++m) {
    for (Index j = 0; j < n; ++j) {
      double sum = 0;
      for (Index c = 0; c < args.q_MC.size(1); ++c)
        sum += static_cast<double>(args.q_MC(m, c)) * static_cast<double>(args.keys_NC(j, c));
      scores[static_cast<std::size_t>(j)] = static_cast<float>(sum);
    }
    topk_of_row_plain(scores.data(), n, args.row_MK.row(m), k);
    for (Index r = 0; r < k; ++r)
      args.score_MK(m, r) = scores[static_cast<std::size_t>(args.row_MK(m, r))];
  }
}

constexpr Variant<LayOutKeys> kLayOut[] = {
    {Isa::reference, lay_out_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, lay_out_keys_avx2},
#endif
#if MOTE_WITH_AVX2_VNNI
    {Isa::avx2_vnni, lay_out_keys_avx2_vnni},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, lay_out_keys_avx512},
#endif
#if MOTE_WITH_AVX512_VNNI
    {Isa::avx512_vnni, lay_out_keys_avx512_vnni},
#endif
};

constexpr Variant<BestKeys> kBest[] = {
    {Isa::reference, best_keys_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, best_keys_avx2},
#endif
#if MOTE_WITH_AVX2_VNNI
    {Isa::avx2_vnni, best_keys_avx2_vnni},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, best_keys_avx512},
#endif
#if MOTE_WITH_AVX512_VNNI
    {Isa::avx512_vnni, best_keys_avx512_vnni},
#endif
};

}  // namespace

std::span<const Variant<LayOutKeys>> lay_out_keys_variants() {
  return kLayOut;
}
std::span<const Variant<BestKeys>> best_keys_variants() {
  return kBest;
}

}  // namespace mote::kernels
