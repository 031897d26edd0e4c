// One product W x with packed weights: ternary q16 at 88.5 % zeros, and 2 bits; and a bfloat16
// product of the same shape for the ratio.
#include "base/rng.h"
#include "bench/record.h"
#include "checkpoint/packed.h"
#include "kernels/packed/q16_product/q16_product.h"
#include "kernels/packed/q16_product_a8/q16_product_a8.h"
#include "kernels/packed/two_bit_product/two_bit_product.h"
#include "model/torch.h"

namespace mote::bench {
namespace {

using kernels::Index;

struct Shape {
  Index rows, columns;
};
constexpr std::size_t kColdBytes =
    std::size_t{320} << 20;  // cycled through, so that every product reads from memory

// Ternary symbols with the zeros of QMoE's largest model.
std::vector<std::uint8_t> trits(const Shape& s) {
  const Rng rng(1, Purpose::test);
  std::vector<std::uint8_t> symbols(static_cast<std::size_t>(s.rows * s.columns));
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const float u = rng.uniform(i);
    symbols[i] = u < 0.885f ? 0 : u < 0.9425f ? 1 : 2;
  }
  return symbols;
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

// What the timed products have in common: activations, outputs, all rows of the one matrix.
struct Buffers {
  std::vector<float> x, y, scratch;
  std::vector<std::byte> scratch_a8;
  std::vector<std::int32_t> ends;
  Buffers(const Shape& s, Index batch)
      : x(static_cast<std::size_t>(batch * s.columns)),
        y(static_cast<std::size_t>(batch * s.rows)),
        scratch(static_cast<std::size_t>(kernels::q16_scratch(batch, s.columns))),
        scratch_a8(static_cast<std::size_t>(kernels::q16_a8_scratch(batch, s.columns))),
        ends{static_cast<std::int32_t>(batch)} {
    const Rng rng(2, Purpose::test);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.normal(i));
  }
};

template <class Encoded, class Call>
void time_packed(const Report& report, const std::string& kind, const std::string& dtype,
                 const Shape& s, const Encoded& encoded, const Call& call) {
  const std::uint64_t bits = kernels::num_bits(encoded.view());
  for (const Index batch : {Index{1}, Index{16}, Index{256}})
    for (const bool cold : {false, true}) {
      if (batch == 256 && cold) continue;  // bound by arithmetic: the same figure as hot
      const std::string shape =
          concat(s.rows, "x", s.columns, " batch=", batch, cold ? " DRAM" : " hot");
      if (!report.wants("ternary_matvec", shape + " " + kind)) continue;
      const std::vector<Encoded> copies(copies_for(static_cast<std::size_t>(bits / 8), cold),
                                        encoded);
      Buffers buffers(s, batch);
      auto seconds = sample(
          [&] {
            for (const Encoded& each : copies) call(each, buffers, batch);
          },
          report.options().repeat);
      for (double& t : seconds) t /= static_cast<double>(copies.size());
      const double time = median(seconds), weights = static_cast<double>(s.rows * s.columns);
      Json extra = {
          {"kind", kind},
          {"bits_per_weight", static_cast<double>(bits) / weights},
          {"weight_GB_per_s", 1e-9 * static_cast<double>(bits) / 8 / time},
          {"ratio_to_bf16", bf16_seconds(s, batch, cold, report.options().repeat) / time}};
      if (cold)
        extra["share_of_limit"] =
            static_cast<double>(bits) / 8 / time / report.bandwidth_bytes_per_second();
      report.rate("ternary_matvec", shape, dtype, "Gweights/s",
                  1e-9 * weights * static_cast<double>(batch), seconds, extra);
    }
}

}  // namespace

void matvec(const Report& report) {
  const kernels::Run& run = report.options().pass.run;
  for (const Shape& s : {Shape{6144, 2080}, Shape{2048, 5632}, Shape{4096, 14336}}) {
    if (!report.wants("ternary_matvec", concat(s.rows, "x", s.columns, " ", report.options().only)))
      continue;
    std::vector<std::uint8_t> symbols = trits(s);
    std::vector<kernels::Bf16> levels;
    for (Index row = 0; row < s.rows; ++row)
      levels.push_back(kernels::to_bf16(-0.02f)), levels.push_back(kernels::to_bf16(0.02f));
    const kernels::Q16Encoded q16 = kernels::q16_encode(
        kernels::view(static_cast<const std::uint8_t*>(symbols.data()), Index{1}, s.rows,
                      s.columns),
        kernels::view(static_cast<const kernels::Bf16*>(levels.data()), Index{1}, s.rows, Index{2}),
        *run.executor);
    const auto x_of = [&](Buffers& b, Index batch) {
      return kernels::view(static_cast<const float*>(b.x.data()), batch, s.columns);
    };
    const auto ends_of = [](Buffers& b) {
      return kernels::view(static_cast<const std::int32_t*>(b.ends.data()), Index{1});
    };
    time_packed(
        report, "q16_a8", "q16, 8-bit activations", s, q16,
        [&](const kernels::Q16Encoded& w, Buffers& b, Index batch) {
          kernels::q16_product_a8(
              {w.view(), x_of(b, batch), ends_of(b), kernels::view(b.y.data(), batch, s.rows),
               kernels::view(b.scratch_a8.data(), static_cast<Index>(b.scratch_a8.size()))},
              run);
        });
    time_packed(
        report, "q16", "q16, f32 activations", s, q16,
        [&](const kernels::Q16Encoded& w, Buffers& b, Index batch) {
          kernels::q16_product(
              {w.view(), x_of(b, batch), ends_of(b), kernels::view(b.y.data(), batch, s.rows),
               kernels::view(b.scratch.data(), static_cast<Index>(b.scratch.size()))},
              run);
        });

    checkpoint::TwoBitEncoded two;
    two.experts = 1, two.rows = s.rows, two.columns = s.columns;
    two.codes.assign(static_cast<std::size_t>(s.rows * ((s.columns + 3) / 4)), 0x1b);
    two.scales.assign(static_cast<std::size_t>(s.rows), kernels::to_bf16(0.02f));
    two.zeros.assign(static_cast<std::size_t>(s.rows), 1);
    time_packed(report, "two_bit", "2-bit, f32 activations", s, two,
                [&](const checkpoint::TwoBitEncoded& w, Buffers& b, Index batch) {
                  kernels::two_bit_product({w.view(), x_of(b, batch), ends_of(b),
                                            kernels::view(b.y.data(), batch, s.rows)},
                                           run);
                });
  }
}

}  // namespace mote::bench
