// Rate of the best of many keys, in multiply-adds of all of them.
#include <benchmark/benchmark.h>

#include "kernels/lookup/best_keys/best_keys_cases.h"

namespace mote::kernels {
namespace {

// Arguments: keys, place in the table of variants.
void best_keys(benchmark::State& state) {
  const auto place = static_cast<std::size_t>(state.range(1));
  const auto& variant = best_keys_variants()[place];
  if (!supported(variant.isa)) return state.SkipWithError("not supported here");
  const BestKeysData data({512, state.range(0), 128, 16});
  const BestKeysCase& c = data.shape;
  BestKeysMemory memory(data, lay_out_keys_variants()[place]);
  std::vector<std::int32_t> row(static_cast<std::size_t>(c.queries * c.k));
  std::vector<float> score(row.size());
  const BestKeys args{data.q_MC(),
                      data.keys_NC(),
                      memory.keys.front().bytes,
                      memory.work.front().bytes,
                      view(row.data(), c.queries, c.k),
                      view(score.data(), c.queries, c.k)};
  state.SetLabel(name(variant.isa));
  for (auto unused : state) variant.call(args, {});
  state.counters["multiply_adds/s"] =
      benchmark::Counter(static_cast<double>(c.queries * c.keys * c.columns),
                         benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(best_keys)
    ->ArgNames({"keys", "variant"})
    ->ArgsProduct({{256, 1024},
                   benchmark::CreateDenseRange(1, static_cast<int>(best_keys_variants().size()) - 1,
                                               1)})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mote::kernels
