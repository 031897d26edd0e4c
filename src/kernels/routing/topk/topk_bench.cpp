// Rate of top-k in scores per second.
#include <benchmark/benchmark.h>

#include "kernels/routing/topk/topk_cases.h"

namespace mote::kernels {
namespace {

// Arguments: experts, k, instruction set.
void topk_rows(benchmark::State& state) {
  const TopkCase shape{4096, state.range(0), state.range(1)};
  const Isa isa = static_cast<Isa>(state.range(2));
  if (!supported(isa)) return state.SkipWithError("not supported here");
  const std::vector<float> scores = topk_scores(shape);
  std::vector<std::int32_t> index(static_cast<std::size_t>(shape.rows * shape.k));
  const Topk args{{scores.data(), {shape.rows, shape.experts}, {shape.experts + 3, 1}},
                  view(index.data(), shape.rows, shape.k)};
  for (auto unused : state) topk(args, {isa});
  state.counters["scores/s"] = benchmark::Counter(static_cast<double>(shape.rows * shape.experts),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(topk_rows)
    ->ArgNames({"experts", "k", "isa"})
    ->ArgsProduct({{16, 64, 256, 1024},
                   {4, 8, 16},
                   {static_cast<int>(Isa::reference), static_cast<int>(Isa::avx2),
                    static_cast<int>(Isa::avx512)}})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace mote::kernels
