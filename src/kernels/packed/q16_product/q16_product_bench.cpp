// Rate of q16 products in weights times tokens per second. Matrices are cycled over 320 MiB of
// codewords, so that each product reads its weights from DRAM, as bench/ and its peers do.
#include <benchmark/benchmark.h>

#include <memory>

#include "kernels/packed/q16/q16_cases.h"
#include "kernels/packed/q16_product/q16_product.h"

namespace mote::kernels {
namespace {

constexpr std::size_t kColdBytes = std::size_t{320} << 20;

struct Setting {
  Q16Random random;
  std::vector<Q16Encoded> copies;
  std::vector<float> x, y, scratch;
  std::unique_ptr<ThreadPool> pool;
};

// Arguments: rows, columns, tokens, threads, instruction set.
std::unique_ptr<Setting> prepare(const benchmark::State& state) {
  const Index rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  auto made = std::make_unique<Setting>();
  made->random = random_q16({1, rows, columns, 0.885}, 7);
  const std::size_t bytes = 2 * made->random.encoded.codes.size();
  made->copies.assign(kColdBytes / bytes + 1, made->random.encoded);
  const Index widest = std::max(rows, columns);
  made->x.assign(static_cast<std::size_t>(tokens * widest), 0.5f);
  made->y.resize(static_cast<std::size_t>(tokens * widest));
  made->scratch.resize(static_cast<std::size_t>(q16_scratch(tokens, columns)));
  made->pool = std::make_unique<ThreadPool>(static_cast<int>(state.range(3)));
  return made;
}

void report(benchmark::State& state, const Setting& setting) {
  const double weights = static_cast<double>(state.range(0) * state.range(1));
  state.counters["weights/s"] = benchmark::Counter(weights * static_cast<double>(state.range(2)),
                                                   benchmark::Counter::kIsIterationInvariantRate);
  state.counters["bits/weight"] =
      static_cast<double>(num_bits(setting.random.encoded.view())) / weights;
}

void product(benchmark::State& state) {
  const auto setting = prepare(state);
  const Index rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  const std::int32_t end = static_cast<std::int32_t>(tokens);
  const Run run{static_cast<Isa>(state.range(4)), setting->pool.get()};
  std::size_t next = 0;
  for (auto unused : state) {
    q16_product({setting->copies[next++ % setting->copies.size()].view(),
                 view<const float>(setting->x.data(), tokens, columns), view(&end, 1),
                 view(setting->y.data(), tokens, rows),
                 view(setting->scratch.data(), static_cast<Index>(setting->scratch.size()))},
                run);
  }
  report(state, *setting);
}

void product_to_input(benchmark::State& state) {
  const auto setting = prepare(state);
  const Index rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  const std::int32_t end = static_cast<std::int32_t>(tokens);
  const Run run{static_cast<Isa>(state.range(4)), setting->pool.get()};
  std::size_t next = 0;
  for (auto unused : state) {
    q16_product_to_input(
        {setting->copies[next++ % setting->copies.size()].view(),
         view<const float>(setting->x.data(), tokens, rows), view(&end, 1),
         view(setting->y.data(), tokens, columns),
         view(setting->scratch.data(), static_cast<Index>(setting->scratch.size()))},
        run);
  }
  report(state, *setting);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "columns", "tokens", "threads", "isa"})->UseRealTime();
  for (const Isa isa : {Isa::avx2, Isa::avx512})
    for (const auto& [rows, columns] : {std::pair{6144, 2080}, {2080, 6144}, {768, 3072}})
      for (const int tokens : {1, 4, 8, 16, 256})
        for (const int threads : {1, 2})
          bench->Args({rows, columns, tokens, threads, static_cast<int>(isa)});
}
BENCHMARK(product)->Apply(shapes);
BENCHMARK(product_to_input)->Apply(shapes);

}  // namespace
}  // namespace mote::kernels
