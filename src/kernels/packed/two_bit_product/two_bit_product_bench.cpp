// Rate of two-bit products in weights times tokens per second; matrices are cycled over 320 MiB, so
// that each product reads its weights from DRAM.
#include <benchmark/benchmark.h>

#include <memory>

#include "kernels/packed/two_bit/two_bit_cases.h"
#include "kernels/packed/two_bit_product/two_bit_product.h"

namespace mote::kernels {
namespace {

constexpr std::size_t kColdBytes = std::size_t{320} << 20;

// Arguments: rows, columns, tokens, threads, instruction set.
template <class Args>
void product(benchmark::State& state, void (*op)(const Args&, const Run&), Index in, Index out) {
  const Index rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  const TwoBitRandom first(1, rows, columns, 7);
  const std::vector<TwoBitRandom> copies(kColdBytes / first.packed.size() + 1, first);
  const std::vector<float> x(static_cast<std::size_t>(tokens * in), 0.5f);
  std::vector<float> y(static_cast<std::size_t>(tokens * out));
  const ThreadPool pool(static_cast<int>(state.range(3)));
  const Run run{static_cast<Isa>(state.range(4)), &pool};
  const std::int32_t end = static_cast<std::int32_t>(tokens);
  std::size_t next = 0;
  for (auto unused : state)
    op({copies[next++ % copies.size()].view(), view(x.data(), tokens, in), view(&end, Index{1}),
        view(y.data(), tokens, out)},
       run);
  const double weights = static_cast<double>(rows * columns);
  state.counters["weights/s"] = benchmark::Counter(weights * static_cast<double>(tokens),
                                                   benchmark::Counter::kIsIterationInvariantRate);
  state.counters["bits/weight"] = static_cast<double>(num_bits(first.view())) / weights;
}

void forward(benchmark::State& state) {
  product(state, two_bit_product, state.range(1), state.range(0));
}
void to_input(benchmark::State& state) {
  product(state, two_bit_product_to_input, state.range(0), state.range(1));
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "columns", "tokens", "threads", "isa"})->UseRealTime();
  for (const Isa isa : {Isa::avx2, Isa::avx512})
    for (const auto& [rows, columns] : {std::pair{6144, 2080}, {2080, 6144}})
      for (const int tokens : {1, 16, 256})
        for (const int threads : {1, 2})
          bench->Args({rows, columns, tokens, threads, static_cast<int>(isa)});
}
BENCHMARK(forward)->Apply(shapes);
BENCHMARK(to_input)->Apply(shapes);

}  // namespace
}  // namespace mote::kernels
