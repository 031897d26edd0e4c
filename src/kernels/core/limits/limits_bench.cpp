// The machine's multiply-add peak and reading bandwidth, by instruction set: what the rates of
// other benchmarks are shares of.
#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/core/limits/limits.h"

namespace mote::kernels {
namespace {

void time_peak(benchmark::State& state, const Variant<PeakFlops>& variant) {
  Index operations = 0;
  float sink = 0;
  for (auto unused : state) variant.call({1 << 16, &operations, &sink}, {});
  state.counters["flop/s"] = benchmark::Counter(static_cast<double>(operations),
                                                benchmark::Counter::kIsIterationInvariantRate);
}

void time_reading(benchmark::State& state, const Variant<ReadSum>& variant, Index floats) {
  const std::vector<float> data(static_cast<std::size_t>(floats), 1.0f);
  float sum = 0;
  for (auto unused : state) variant.call({data.data(), floats, &sum}, {});
  state.SetBytesProcessed(state.iterations() * floats * 4);
}

const bool kRegistered = [] {
  for (const auto& variant : peak_flops_variants())
    if (supported(variant.isa))
      benchmark::RegisterBenchmark((std::string("limits/peak/") + name(variant.isa)).c_str(),
                                   [=](benchmark::State& state) { time_peak(state, variant); });
  for (const auto& variant : read_sum_variants())
    for (const Index kib : {24, 768, 12 << 10, 512 << 10})
      if (supported(variant.isa))
        benchmark::RegisterBenchmark(
            (std::string("limits/read/") + name(variant.isa) + "/kib" + std::to_string(kib))
                .c_str(),
            [=](benchmark::State& state) { time_reading(state, variant, kib * 256); });
  return true;
}();

}  // namespace
}  // namespace mote::kernels
