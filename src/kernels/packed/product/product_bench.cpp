// Rate of every product of every coder in weights times tokens per second: one matrix in cache, or
// matrices cycled over 320 MiB, so that each product reads its weights from memory.
#include <benchmark/benchmark.h>

#include "kernels/packed/product/product_cases.h"

namespace mote::kernels {
namespace {

constexpr std::uint64_t kColdBytes = std::uint64_t{320} << 20;

using Product = void (*)(const PackedProduct&, const Run&);

// Arguments: rows, columns, tokens, threads, instruction set, whether from memory.
void product(benchmark::State& state, const Coder* coder, Product op, bool to_input) {
  const Index rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  const PackedRandom made(*coder, {1, rows, columns}, 0.885, 7);
  const std::uint64_t bytes = num_bits(made.stack.view()) / 8;
  const std::vector<PackedStack> copies(state.range(5) != 0 ? kColdBytes / bytes + 1 : 1,
                                        made.stack);
  const Index in = to_input ? rows : columns, out = to_input ? columns : rows;
  std::vector<float> x(static_cast<std::size_t>(tokens * in)),
      y(static_cast<std::size_t>(tokens * out));
  const Rng rng(3, Purpose::test);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.normal(i));
  const ThreadPool pool(static_cast<int>(state.range(3)));
  const Run run{static_cast<Isa>(state.range(4)), &pool};
  const std::int32_t end = static_cast<std::int32_t>(tokens);
  std::size_t next = 0;
  for (auto unused : state)
    op({copies[next++ % copies.size()].view(), view<const float>(x.data(), tokens, in),
        view(&end, Index{1}), view(y.data(), tokens, out)},
       run);
  const double weights = static_cast<double>(rows * columns);
  state.counters["weights/s"] = benchmark::Counter(weights * static_cast<double>(tokens),
                                                   benchmark::Counter::kIsIterationInvariantRate);
  state.counters["bits/weight"] = static_cast<double>(8 * bytes) / weights;
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "columns", "tokens", "threads", "isa", "memory"})->UseRealTime();
  for (const Isa isa : compiled_isas()) {
    if (isa == Isa::reference || !supported(isa)) continue;
    for (const auto& [rows, columns] : {std::pair{6144, 2080}, {2080, 6144}, {768, 3072}})
      for (const int tokens : {1, 4, 8, 16, 256})
        for (const int threads : {1, 2})
          for (const int memory : {0, 1})
            bench->Args({rows, columns, tokens, threads, static_cast<int>(isa), memory});
  }
}

const bool registered = [] {
  for (const Coder* coder : coders()) {
    const std::string name = coder->name;
    const auto add = [&](const std::string& kind, Product op, bool to_input) {
      shapes(
          benchmark::RegisterBenchmark((name + "_" + kind).c_str(), product, coder, op, to_input));
    };
    add("product", packed_product, false);
    if (coder->product_int8 != nullptr) add("int8", packed_product_int8, false);
    add("to_input", packed_product_to_input, true);
  }
  return true;
}();

}  // namespace
}  // namespace mote::kernels
