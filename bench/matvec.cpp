// One product W x with every coder's matrices, ternary ones at 88.5 % zeros, with float32 and with
// 8-bit activations; and a bfloat16 product of the same shape for the ratio. A row is compared with
// the reference before it is timed.
#include "base/check.h"
#include "base/rng.h"
#include "bench/record.h"
#include "kernels/packed/coder.h"
#include "model/torch.h"

namespace mote::bench {
namespace {

using kernels::Index;

struct Shape {
  Index rows, columns;
};
constexpr std::size_t kColdBytes =
    std::size_t{320} << 20;  // cycled through, so that every product reads from memory

// Symbols of a grid: ternary ones with the zeros of QMoE's largest model.
std::vector<std::uint8_t> random_symbols(kernels::Grid grid, const Shape& s) {
  const Rng rng(1, Purpose::test);
  std::vector<std::uint8_t> symbols(static_cast<std::size_t>(s.rows * s.columns));
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const float u = rng.uniform(i);
    symbols[i] = static_cast<std::uint8_t>(grid == kernels::Grid::two_bit ? static_cast<int>(4 * u)
                                           : u < 0.885f                   ? 0
                                           : u < 0.9425f                  ? 1
                                                                          : 2);
  }
  return symbols;
}

kernels::PackedStack packed(const kernels::Coder& coder, const Shape& s, const Executor& executor) {
  const std::vector<std::uint8_t> symbols = random_symbols(coder.grid, s);
  std::vector<float> levels;
  for (Index row = 0; row < s.rows; ++row) {
    const bool ternary = coder.grid == kernels::Grid::ternary;
    levels.push_back(ternary ? -0.02f : 0.02f);
    levels.push_back(ternary ? 0.02f : 1.0f);
  }
  return coder.encode(kernels::view<const std::uint8_t>(symbols.data(), 1, s.rows, s.columns),
                      kernels::view<const float>(levels.data(), 1, s.rows, 2), executor);
}

std::size_t copies_for(std::size_t bytes, bool cold) {
  return cold ? std::clamp<std::size_t>((kColdBytes + bytes - 1) / bytes, 2, 512) : 1;
}

// Seconds of one bfloat16 product by LibTorch, weights from memory.
double bf16_seconds(const Shape& s, Index batch, bool cold, int repeat) {
  const std::size_t copies = copies_for(static_cast<std::size_t>(s.rows * s.columns * 2), cold);
  std::vector<Tensor> weights;
  for (std::size_t i = 0; i < copies; ++i)
    weights.push_back(torch::randn({s.rows, s.columns}).to(torch::kBFloat16));
  const Tensor x = torch::randn({batch, s.columns}).to(torch::kBFloat16);
  const torch::NoGradGuard no_grad;
  return median(sample(
             [&] {
               for (const Tensor& w : weights) torch::linear(x, w);
             },
             repeat)) /
         static_cast<double>(copies);
}

using Product = void (*)(const kernels::PackedProduct&, const kernels::Run&);

// How a row is named and what it calls.
struct Row {
  std::string kind, dtype;
  const char* activations;
  Product product;
};

// The first and the last token by the reference, which sums in double; rows of a batch are those of
// single tokens. What is left are roundings, of sums of up to 14,336 terms.
void check(const Row& row, const kernels::PackedMatrices& w, const std::vector<float>& x,
           const std::vector<float>& y, Index batch) {
  const Index rows = w.shape.rows, columns = w.shape.columns;
  const std::int32_t one = 1;
  for (const Index token : {Index{0}, batch - 1}) {
    std::vector<float> want(static_cast<std::size_t>(rows));
    row.product({w, kernels::view(x.data() + token * columns, Index{1}, columns),
                 kernels::view(&one, Index{1}), kernels::view(want.data(), Index{1}, rows)},
                {kernels::Isa::reference});
    float largest = 0, worst = 0;
    for (Index o = 0; o < rows; ++o) {
      const float wanted = want[static_cast<std::size_t>(o)];
      largest = std::max(largest, std::abs(wanted));
      worst = std::max(worst, std::abs(y[static_cast<std::size_t>(token * rows + o)] - wanted));
    }
    if (!(worst <= 1e-4f * largest))
      throw Error(ErrorKind::numeric, concat("bench matvec: ", row.kind, " is off by ", worst,
                                             " where the largest result is ", largest));
  }
}

void time_product(const Report& report, const Row& row, const Shape& s,
                  const kernels::PackedStack& stack) {
  const std::uint64_t bits = kernels::num_bits(stack.view());
  for (const Index batch : {Index{1}, Index{16}, Index{256}})
    for (const bool cold : {false, true}) {
      if (batch == 256 && cold) continue;  // bound by arithmetic: the same figure as hot
      const std::string shape =
          concat(s.rows, "x", s.columns, " batch=", batch, cold ? " DRAM" : " hot");
      if (!report.wants("ternary_matvec", shape + " " + row.kind)) continue;
      const std::vector<kernels::PackedStack> copies(
          copies_for(static_cast<std::size_t>(bits / 8), cold), stack);
      std::vector<float> x(static_cast<std::size_t>(batch * s.columns)),
          y(static_cast<std::size_t>(batch * s.rows));
      const std::int32_t end = static_cast<std::int32_t>(batch);
      const Rng rng(2, Purpose::test);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.normal(i));
      const auto multiply = [&](const kernels::PackedStack& each) {
        row.product({each.view(), kernels::view<const float>(x.data(), batch, s.columns),
                     kernels::view(&end, Index{1}), kernels::view(y.data(), batch, s.rows)},
                    report.options().pass.run);
      };
      multiply(copies.front());
      check(row, copies.front().view(), x, y, batch);
      auto seconds = sample(
          [&] {
            for (const kernels::PackedStack& each : copies) multiply(each);
          },
          report.options().repeat);
      for (double& t : seconds) t /= static_cast<double>(copies.size());
      const double time = median(seconds), weights = static_cast<double>(s.rows * s.columns);
      Json extra = {
          {"kind", row.kind},
          {"activations", row.activations},
          {"bits_per_weight", static_cast<double>(bits) / weights},
          {"weight_GB_per_s", 1e-9 * static_cast<double>(bits) / 8 / time},
          {"ratio_to_bf16", bf16_seconds(s, batch, cold, report.options().repeat) / time}};
      if (cold)
        extra["share_of_limit"] =
            static_cast<double>(bits) / 8 / time / report.bandwidth_bytes_per_second();
      report.rate("ternary_matvec", shape, row.dtype, "Gweights/s",
                  1e-9 * weights * static_cast<double>(batch), seconds, extra);
    }
}

}  // namespace

void matvec(const Report& report) {
  for (const Shape& s : {Shape{6144, 2080}, Shape{2048, 5632}, Shape{4096, 14336}}) {
    if (!report.wants("ternary_matvec", concat(s.rows, "x", s.columns, " ", report.options().only)))
      continue;
    for (const kernels::Coder* coder : kernels::coders()) {
      const kernels::PackedStack stack = packed(*coder, s, *report.options().pass.run.executor);
      const std::string name = coder->name, storage = coder->storage;
      if (coder->product_int8)
        time_product(
            report,
            {name + "_int8", storage + ", 8-bit activations", "int8", kernels::packed_product_int8},
            s, stack);
      time_product(report,
                   {name, storage + ", f32 activations", "float32", kernels::packed_product}, s,
                   stack);
    }
  }
}

}  // namespace mote::bench
