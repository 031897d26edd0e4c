#include "kernels/core/limits/limits.h"

namespace mote::kernels {
namespace {

void peak_reference(const PeakFlops& args, const Run&) {
  float sum[8] = {};
  for (Index r = 0; r < args.rounds; ++r)
    for (int i = 0; i < 8; ++i) sum[i] = sum[i] * 0.5f + 0.25f;
  *args.sink = 0;
  for (const float s : sum) *args.sink += s;
  *args.operations = args.rounds * 8 * 2;
}

void read_reference(const ReadSum& args, const Run&) {
  float sum[8] = {};
  for (Index i = 0; i < args.count; i += 8)
    for (int lane = 0; lane < 8; ++lane) sum[lane] += args.data[i + lane];
  *args.sum = 0;
  for (const float s : sum) *args.sum += s;
}

void rows_reference(const ReadRows& args, const Run&) {
  *args.sum = 0;
  for (Index r = 0; r < args.rows; ++r)
    for (Index i = 0; i < args.columns; ++i)
      *args.sum += args.data[args.index[r] * args.columns + i];
}

constexpr Variant<PeakFlops> kPeak[] = {
    {Isa::reference, peak_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, peak_flops_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, peak_flops_avx512},
#endif
};

constexpr Variant<ReadSum> kRead[] = {
    {Isa::reference, read_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, read_sum_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, read_sum_avx512},
#endif
};

constexpr Variant<ReadRows> kRows[] = {
    {Isa::reference, rows_reference},
#if MOTE_WITH_AVX2
    {Isa::avx2, read_rows_avx2},
#endif
#if MOTE_WITH_AVX512
    {Isa::avx512, read_rows_avx512},
#endif
};

}  // namespace

std::span<const Variant<PeakFlops>> peak_flops_variants() {
  return kPeak;
}
std::span<const Variant<ReadSum>> read_sum_variants() {
  return kRead;
}
std::span<const Variant<ReadRows>> read_rows_variants() {
  return kRows;
}
void peak_flops(const PeakFlops& args, const Run& run) {
  select(peak_flops_variants(), run).call(args, run);
}
void read_sum(const ReadSum& args, const Run& run) {
  select(read_sum_variants(), run).call(args, run);
}
void read_rows(const ReadRows& args, const Run& run) {
  select(read_rows_variants(), run).call(args, run);
}

}  // namespace mote::kernels
