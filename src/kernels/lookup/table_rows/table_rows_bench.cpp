// Rate of products with rows picked from a table that no cache holds, in bytes of rows per second.
#include <benchmark/benchmark.h>

#include "kernels/lookup/table_rows/table_rows_cases.h"

namespace mote::kernels {
namespace {

template <class Call>
void time_rows(benchmark::State& state, const Call& call) {
  const Isa isa = static_cast<Isa>(state.range(2));
  if (!supported(isa)) return state.SkipWithError("not supported here");
  TableRowsCase shape{512, 128, state.range(0), state.range(1) ? Type::bf16 : Type::f32};
  shape.rows = 1 << 20;
  const TableRowsData data(shape);
  std::vector<float> out(
      static_cast<std::size_t>(shape.outputs * std::max<Index>(shape.columns, 128)));
  state.SetLabel(name(isa));
  for (auto unused : state) call(data, out.data(), Run{isa});
  state.SetBytesProcessed(state.iterations() * shape.outputs * shape.per_output * shape.columns *
                          size_of(shape.type));
}

// Arguments: columns, whether bfloat16, instruction set.
void dots(benchmark::State& state) {
  time_rows(state, [](const TableRowsData& data, float* out, const Run& run) {
    row_dots(data.dots(out), run);
  });
}
void sums(benchmark::State& state) {
  time_rows(state, [](const TableRowsData& data, float* out, const Run& run) {
    row_sums(data.sums(out), run);
  });
}
const std::vector<std::vector<std::int64_t>> kArguments = {
    {256, 1024}, {0, 1}, {static_cast<int>(Isa::avx2), static_cast<int>(Isa::avx512)}};
BENCHMARK(dots)->ArgNames({"columns", "bf16", "isa"})->ArgsProduct(kArguments);
BENCHMARK(sums)->ArgNames({"columns", "bf16", "isa"})->ArgsProduct(kArguments);

}  // namespace
}  // namespace mote::kernels
