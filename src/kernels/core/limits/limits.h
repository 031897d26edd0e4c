// The machine's own limits, which kernels are measured against.
//
// peak_flops: multiply-adds on registers, `rounds` of them on every accumulator; returns how many
// floating-point operations were done (a multiply-add counts two). read_sum: reads every byte once
// and returns a value that depends on all of them, so that no read can be left out. read_rows: the same for
// rows of `columns` numbers in the order of `index`, lines of later rows asked for ahead.
#pragma once

#include "kernels/core/variants.h"
#include "kernels/core/view.h"

namespace mote::kernels {

struct PeakFlops {
  Index rounds = 0;
  Index* operations = nullptr;  // out
  float* sink = nullptr;        // out: keeps the work from being removed
};
void peak_flops(const PeakFlops& args, const Run& run);
std::span<const Variant<PeakFlops>> peak_flops_variants();
void peak_flops_avx2(const PeakFlops& args, const Run& run);
void peak_flops_avx512(const PeakFlops& args, const Run& run);

struct ReadSum {
  const float* data = nullptr;
  Index count = 0;       // a multiple of 64
  float* sum = nullptr;  // out
};
void read_sum(const ReadSum& args, const Run& run);
std::span<const Variant<ReadSum>> read_sum_variants();
void read_sum_avx2(const ReadSum& args, const Run& run);
void read_sum_avx512(const ReadSum& args, const Run& run);

struct ReadRows {
  const float* data = nullptr;
  const std::int32_t* index = nullptr;
  Index rows = 0, columns = 0;  // columns: a multiple of 64
  float* sum = nullptr;         // out
};
void read_rows(const ReadRows& args, const Run& run);
std::span<const Variant<ReadRows>> read_rows_variants();
void read_rows_avx2(const ReadRows& args, const Run& run);
void read_rows_avx512(const ReadRows& args, const Run& run);

}  // namespace mote::kernels
