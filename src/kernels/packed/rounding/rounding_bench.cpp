// Rate of rounding in weights per second, the factors given.
#include <benchmark/benchmark.h>

#include "kernels/packed/rounding/rounding_cases.h"

namespace mote::kernels {
namespace {

// Arguments: experts, rows, columns, threads, instruction set, grid.
struct Setting {
  Index experts, rows, columns;
  Grid grid;
  ThreadPool pool;
  Run run;
  std::vector<float> w, u, levels, objective;
  std::vector<std::uint8_t> symbols;
  std::vector<std::byte> scratch;

  explicit Setting(const benchmark::State& state)
      : experts(state.range(0)),
        rows(state.range(1)),
        columns(state.range(2)),
        grid(static_cast<Grid>(state.range(5))),
        pool(static_cast<int>(state.range(3))),
        run{static_cast<Isa>(state.range(4)), &pool} {
    const Rng rng(1, Purpose::test);
    w.resize(static_cast<std::size_t>(experts * rows * columns));
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(rng.normal(i));
    // Any factor costs the same; this one keeps the corrected weights in range.
    u.resize(static_cast<std::size_t>(experts * columns * columns));
    for (Index i = 0; i < experts * columns; ++i)
      for (Index j = i % columns; j < columns; ++j) {
        const Index at = i * columns + j;
        u[static_cast<std::size_t>(at)] =
            j == i % columns ? 1 : 0.01f * rng.uniform(static_cast<std::uint64_t>(at)) - 0.005f;
      }
    levels.resize(static_cast<std::size_t>(2 * experts * rows));
    objective.resize(static_cast<std::size_t>(experts * rows));
    symbols.resize(w.size());
    scratch.resize(static_cast<std::size_t>(gptq_scratch(columns, pool.threads())));
    find_levels();
  }
  View<const float, 3> weights() const { return view(w.data(), experts, rows, columns); }
  View<float, 3> level_view() { return view(levels.data(), experts, rows, Index{2}); }
  View<std::uint8_t, 3> symbol_view() { return view(symbols.data(), experts, rows, columns); }
  void find_levels() { row_levels({weights(), grid, true, level_view()}, run); }
  void report(benchmark::State& state) const {
    state.counters["weights/s"] = benchmark::Counter(static_cast<double>(w.size()),
                                                     benchmark::Counter::kIsIterationInvariantRate);
  }
};

void error_corrected(benchmark::State& state) {
  Setting s(state);
  for (auto unused : state)
    gptq({s.weights(), view<const float>(s.u.data(), s.experts, s.columns, s.columns), s.grid,
          s.level_view(), s.symbol_view(), view(s.objective.data(), s.experts, s.rows),
          view(s.scratch.data(), static_cast<Index>(s.scratch.size()))},
         s.run);
  s.report(state);
}

void levels_and_nearest(benchmark::State& state) {
  Setting s(state);
  for (auto unused : state) {
    s.find_levels();
    round_to_nearest({s.weights(), s.grid, s.level_view(), s.symbol_view()}, s.run);
  }
  s.report(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"experts", "rows", "columns", "threads", "isa", "grid"})->UseRealTime();
  for (const Isa isa : {Isa::avx2, Isa::avx512})
    for (const auto& [rows, columns] :
         {std::pair{3072, 768}, {768, 3072}, {2048, 768}, {768, 2048}})
      for (const int threads : {1, 2})
        for (const int experts : {1, 4})
          bench->Args({experts, rows, columns, threads, static_cast<int>(isa), 0});
}
BENCHMARK(error_corrected)->Apply(shapes);
BENCHMARK(levels_and_nearest)->Apply(shapes);

}  // namespace
}  // namespace mote::kernels
