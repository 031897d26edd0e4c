// Rate of product-key retrieval in queries per second, forward and backward.
#include <benchmark/benchmark.h>

#include "kernels/lookup/product_keys/product_keys_cases.h"

namespace mote::kernels {
namespace {

// Arguments: keys in a half, whether backward, instruction set.
void product_keys(benchmark::State& state) {
  const Isa isa = static_cast<Isa>(state.range(2));
  if (!supported(isa)) return state.SkipWithError("not supported here");
  const ProductKeyData data({512, 8, state.range(0), 128, 16});
  const ProductKeyCase& c = data.shape;
  std::vector<std::int32_t> index(static_cast<std::size_t>(data.pairs()));
  std::vector<float> score(index.size()), dq(data.q.size()), dkeys(data.keys.size());
  const ProductKeySearch search{data.q_NHC(), data.keys_SnC(),
                                view(index.data(), c.tokens, c.heads, c.k),
                                view(score.data(), c.tokens, c.heads, c.k)};
  const ProductKeyBackward backward{search.q_NHC,
                                    search.keys_SnC,
                                    search.index_NHK,
                                    search.score_NHK,
                                    view(dq.data(), c.tokens, c.heads, 2 * c.half),
                                    view(dkeys.data(), Index{2}, c.keys, c.half)};
  product_key_search(search, {isa});
  state.SetLabel(name(isa));
  for (auto unused : state)
    state.range(1) ? product_key_backward(backward, {isa}) : product_key_search(search, {isa});
  state.counters["queries/s"] = benchmark::Counter(static_cast<double>(c.tokens * c.heads),
                                                   benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(product_keys)
    ->ArgNames({"keys", "backward", "isa"})
    ->ArgsProduct({{128, 1024},
                   {0, 1},
                   {static_cast<int>(Isa::avx2), static_cast<int>(Isa::avx512)}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mote::kernels
