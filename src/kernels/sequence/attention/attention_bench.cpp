// Rate of relative attention in queries per second over heads, a block with the block before it in
// memory.
#include <benchmark/benchmark.h>

#include "kernels/sequence/attention/attention_cases.h"

namespace mote::kernels {
namespace {

// Arguments: block, heads, head width, instruction set.
void attention_forward(benchmark::State& state) {
  const Index block = state.range(0);
  const AttentionData data({4, block, state.range(1), state.range(2), true, block, block, block});
  const Isa isa = static_cast<Isa>(state.range(3));
  if (!supported(isa)) return state.SkipWithError("not supported here");
  std::vector<float> o(static_cast<std::size_t>(data.outputs()));
  const Attention args = data.args(o.data(), nullptr);
  state.SetLabel(name(isa));
  for (auto unused : state) attention(args, {isa});
  state.counters["queries/s"] = benchmark::Counter(static_cast<double>(data.rows_of_scores()),
                                                   benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention_forward)
    ->ArgNames({"block", "heads", "width", "isa"})
    ->ArgsProduct(
        {{64, 256}, {8}, {32, 64}, {static_cast<int>(Isa::avx2), static_cast<int>(Isa::avx512)}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mote::kernels
