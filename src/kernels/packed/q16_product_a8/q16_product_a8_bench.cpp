// Rate of q16 products with 8-bit activations in weights times tokens per second, x's quantisation
// included; matrices are cycled over 320 MiB of codewords.
#include <benchmark/benchmark.h>

#include "kernels/packed/q16/q16_cases.h"
#include "kernels/packed/q16_product_a8/q16_product_a8.h"

namespace mote::kernels {
namespace {

constexpr std::size_t kColdBytes = std::size_t{320} << 20;

// Arguments: rows, columns, tokens, threads, instruction set.
void product(benchmark::State& state) {
  const Index rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  const Q16Random random = random_q16({1, rows, columns, 0.885}, 7);
  const std::vector<Q16Encoded> copies(kColdBytes / (2 * random.encoded.codes.size()) + 1,
                                       random.encoded);
  const std::vector<float> x(static_cast<std::size_t>(tokens * columns), 0.5f);
  std::vector<float> y(static_cast<std::size_t>(tokens * rows));
  std::vector<std::byte> scratch(static_cast<std::size_t>(q16_a8_scratch(tokens, columns)));
  const ThreadPool pool(static_cast<int>(state.range(3)));
  const Run run{static_cast<Isa>(state.range(4)), &pool};
  const std::int32_t end = static_cast<std::int32_t>(tokens);
  std::size_t next = 0;
  for (auto unused : state)
    q16_product_a8({copies[next++ % copies.size()].view(), view(x.data(), tokens, columns),
                    view(&end, Index{1}), view(y.data(), tokens, rows),
                    view(scratch.data(), static_cast<Index>(scratch.size()))},
                   run);
  state.counters["weights/s"] = benchmark::Counter(static_cast<double>(rows * columns * tokens),
                                                   benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "columns", "tokens", "threads", "isa"})->UseRealTime();
  for (const Isa isa : {Isa::avx2, Isa::avx512})
    for (const auto& [rows, columns] : {std::pair{6144, 2080}, {2080, 6144}})
      for (const int tokens : {1, 16, 256})
        for (const int threads : {1, 2})
          bench->Args({rows, columns, tokens, threads, static_cast<int>(isa)});
}
BENCHMARK(product)->Apply(shapes);

}  // namespace
}  // namespace mote::kernels
