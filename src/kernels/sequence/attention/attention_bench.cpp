// Rate of attention: training (causal, and relative with a block of memory) in queries per second
// over heads, decoding (one query) in bytes of keys and values per second.
#include <benchmark/benchmark.h>

#include "kernels/sequence/attention/attention_cases.h"

namespace mote::kernels {
namespace {

std::vector<float> floats(Index count) {
  return std::vector<float>(static_cast<std::size_t>(count));
}

struct Gradients {
  std::vector<float> dq, dk, dv, dr, du, dw, dscale;
  AttentionBackward args;

  Gradients(const AttentionData& data, const Attention& forward, const std::vector<float>& grad) {
    const AttentionCase& c = data.shape;
    const Index row = c.batch * c.heads * c.width;
    dq = floats(row * c.queries);
    dk = floats(c.batch * c.keys * c.groups * c.width);
    dv = floats(c.batch * c.keys * c.groups * c.value_width);
    dr = floats(row * data.distances), du = dw = floats(row), dscale = floats(c.batch * c.heads);
    args.forward = forward;
    args.do_BTHE = data.rows(grad.data(), c.queries, c.heads, c.value_width);
    args.dq_BTHC = data.rows(dq.data(), c.queries, c.heads, c.width);
    args.dk_BSGC = data.rows(dk.data(), c.keys, c.groups, c.width);
    args.dv_BSGE = data.rows(dv.data(), c.keys, c.groups, c.value_width);
    if (c.relative) args.dr_BDHC = dr.data(), args.du_BHC = du.data(), args.dw_BHC = dw.data();
    args.dscale_BH = dscale.data();
  }
};

void time_attention(benchmark::State& state, const AttentionCase& shape, Isa isa, bool backward) {
  if (!supported(isa)) return state.SkipWithError("not supported here");
  const AttentionData data(shape);
  std::vector<float> o = floats(data.num_outputs()), lse = floats(data.num_queries());
  const std::vector<float> grad = normals(data.num_outputs(), 7);
  const Attention args = data.args(o.data(), lse.data());
  const Gradients gradients(data, args, grad);
  state.SetLabel(name(isa));
  for (auto unused : state) {
    attention(args, {isa});
    if (backward) attention_backward(gradients.args, {isa});
  }
}

// Arguments: head width, memory (0: causal without positions), whether to go back, instruction set.
void attention_training(benchmark::State& state) {
  const Index memory = state.range(1);
  AttentionCase shape = causal(256, 256 + memory, state.range(0), state.range(0));
  shape.batch = shape.heads = shape.groups = 8;
  shape.relative = memory > 0;
  if (memory > 0) shape.sight = {memory, 0, 256, memory};
  time_attention(state, shape, static_cast<Isa>(state.range(3)), state.range(2) != 0);
  state.counters["queries/s"] =
      benchmark::Counter(static_cast<double>(shape.batch * shape.heads * shape.queries),
                         benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention_training)
    ->ArgNames({"width", "memory", "backward", "isa"})
    ->ArgsProduct({{32}, {0}, {0, 1}, {static_cast<int>(Isa::avx2), static_cast<int>(Isa::avx512)}})
    ->ArgsProduct(
        {{64}, {256}, {0, 1}, {static_cast<int>(Isa::avx2), static_cast<int>(Isa::avx512)}})
    ->Unit(benchmark::kMillisecond);

// Arguments: keys, query heads on 8 key heads, whether relative, instruction set.
void attention_decode(benchmark::State& state) {
  AttentionCase shape = causal(1, state.range(0), 64, 64);
  shape.heads = state.range(1), shape.groups = 8;
  shape.relative = state.range(2) != 0;
  time_attention(state, shape, static_cast<Isa>(state.range(3)), false);
  state.counters["B/s"] = benchmark::Counter(
      static_cast<double>(2 * shape.keys * shape.groups * shape.width) * sizeof(float),
      benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention_decode)
    ->ArgNames({"keys", "heads", "relative", "isa"})
    ->ArgsProduct({{256, 4096, 16384},
                   {8, 32},
                   {0, 1},
                   {static_cast<int>(Isa::avx2), static_cast<int>(Isa::avx512)}})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace mote::kernels
