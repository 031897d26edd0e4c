// Rate of the expert layer in tokens per second, forward and backward, at shapes of published
// models.
#include <benchmark/benchmark.h>

#include "kernels/linear/experts/experts_cases.h"

namespace mote::kernels {
namespace {

struct Memory {
  std::vector<float> u, y, dx, dgate, dup, ddown;
  explicit Memory(const ExpertsData& data) {
    const ExpertsCase& s = data.shape;
    const auto floats = [](Index count) {
      return std::vector<float>(static_cast<std::size_t>(count));
    };
    u = floats(data.rows() * s.width);
    y = dx = floats(s.tokens * s.dim);
    dgate = floats(data.rows());
    dup = ddown = floats(s.experts * s.width * s.dim);
  }
};

void time_experts(benchmark::State& state, const ExpertsCase& s, const Run& run, bool backward) {
  const ExpertsData data(s);
  Memory m(data);
  const auto u = view(m.u.data(), data.rows(), s.width);
  const ExpertsForward forward{data.x_ND(),
                               {},
                               data.up_stack(),
                               data.down_stack(),
                               {UnitKind::relu},
                               data.routes(),
                               data.gate.data(),
                               u,
                               view(m.y.data(), s.tokens, s.dim)};
  const ExpertsBackward back{data.x_ND(),
                             u,
                             data.dy_ND(),
                             data.up_EGD(),
                             data.down_EDG(),
                             data.routes(),
                             data.gate.data(),
                             view(m.dx.data(), s.tokens, s.dim),
                             m.dgate.data(),
                             view(m.dup.data(), s.experts, s.width, s.dim),
                             view(m.ddown.data(), s.experts, s.dim, s.width)};
  for (auto unused : state) {
    experts_forward(forward, run);
    if (backward) experts_backward(back, run);
  }
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(s.tokens),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

std::vector<std::int64_t> isas() {
  return {static_cast<int>(Isa::avx2), static_cast<int>(Isa::avx512)};
}

// Arguments: experts, dim, expert width, experts per token, whether to go back, instruction set.
void experts(benchmark::State& state) {
  const ExpertsCase shape{2048, state.range(3), state.range(0), state.range(1), state.range(2)};
  const Isa isa = static_cast<Isa>(state.range(5));
  if (!supported(isa)) return state.SkipWithError("not supported here");
  state.SetLabel(name(isa));
  time_experts(state, shape, {isa}, state.range(4) != 0);
}
BENCHMARK(experts)
    ->ArgNames({"experts", "dim", "width", "slots", "backward", "isa"})
    ->ArgsProduct({{16}, {412}, {128}, {4}, {0, 1}, isas()})
    ->ArgsProduct({{64}, {1024}, {256}, {8}, {0, 1}, isas()})
    ->ArgsProduct({{8}, {1024}, {3584}, {2}, {0, 1}, isas()})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mote::kernels
