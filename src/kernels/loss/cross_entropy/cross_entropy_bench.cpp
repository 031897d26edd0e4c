// Rate of one row of logits with its gradient, in logits per second, by variant.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/core/random_cases.h"
#include "kernels/loss/cross_entropy/cross_entropy.h"

namespace mote::kernels {
namespace {

const bool kRegistered = [] {
  for (const Variant<CrossEntropyRow>& variant : cross_entropy_row_variants())
    for (const Index n : {257, 8000, 32768}) {
      if (!supported(variant.isa)) continue;
      const std::string title =
          std::string("cross_entropy_row/") + name(variant.isa) + "/n" + std::to_string(n);
      benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
        const std::vector<float> logits = normals(n, 1);
        std::vector<float> row = logits;
        float loss = 0;
        for (auto unused : state) {
          std::copy(logits.begin(), logits.end(), row.begin());
          variant.call({row.data(), n, n / 2, true, 1, &loss}, {});
        }
        state.counters["logits/s"] = benchmark::Counter(
            static_cast<double>(n), benchmark::Counter::kIsIterationInvariantRate);
      });
    }
  return true;
}();

}  // namespace
}  // namespace mote::kernels
