// Rate of one block of a product, by variant and layout, from the caches: 2 m n k operations.
#include <benchmark/benchmark.h>

#include "kernels/linear/gemm/gemm_cases.h"

namespace mote::kernels {
namespace {

void time_gemm(benchmark::State& state, Precision precision, const Variant<Gemm>& variant,
               const GemmCase& shape) {
  const GemmData data(shape);
  std::vector<float> c = data.c;
  const Gemm args = data.args(c.data(), precision);
  for (auto unused : state) variant.call(args, {});
  const double operations = 2 * static_cast<double>(shape.m * shape.n * shape.k);
  state.SetBytesProcessed(state.iterations() * shape.n * shape.k * size_of(shape.b_type));
  state.counters["flop/s"] =
      benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate);
}

GemmCase with_type(GemmCase shape, Type type) {
  shape.b_type = type;
  return shape;
}

// Blocks of an expert layer forward and backward, few rows from the cache and from memory, and a
// square.
const bool kRegistered = [] {
  const GemmCase shapes[] = {{504, 128, 412},
                             {504, 128, 412, Rows::outer, Rows::inner},
                             {128, 412, 504, Rows::inner, Rows::inner},
                             {1, 1024, 1024},
                             {1, 8192, 4096},
                             with_type({1, 8192, 4096}, Type::bf16),
                             with_type({1, 8192, 4096}, Type::f16),
                             with_type({4, 8192, 4096}, Type::bf16),
                             {16, 2048, 2048},
                             {512, 512, 512}};
  for (const Precision precision : {Precision::f32, Precision::bf16})
    for (const Variant<Gemm>& variant : gemm_variants(precision))
      for (const GemmCase& shape : shapes) {
        if (variant.isa == Isa::reference || !supported(variant.isa)) continue;
        const std::string title = std::string("gemm/") +
                                  (precision == Precision::bf16 ? "bf16/" : "f32/") +
                                  name(variant.isa) + "/" + case_name(shape);
        benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) {
          time_gemm(state, precision, variant, shape);
        });
      }
  return true;
}();

}  // namespace
}  // namespace mote::kernels
