// The machine's limits, and how near to them a dense product of ours comes.
#include "bench/record.h"
#include "kernels/core/limits/limits.h"
#include "kernels/linear/matmul/matmul.h"
#include "model/torch.h"

namespace mote::bench {
namespace {

void read_bandwidth(const Report& report) {
  struct Level {
    const char* name;
    std::size_t bytes;
    bool per_thread;
  };
  for (const Level& level : {Level{"L2", 768 << 10, true}, Level{"L3", 12 << 20, true},
                             Level{"DRAM", std::size_t{2} << 30, false}}) {
    if (!report.wants("memory.read", level.name)) continue;
    const int threads = report.options().threads;
    const std::size_t bytes =
        level.per_thread ? level.bytes * static_cast<std::size_t>(threads) : level.bytes;
    const auto per_thread =
        static_cast<kernels::Index>(bytes / 4 / static_cast<std::size_t>(threads));
    std::vector<float> data(bytes / 4, 1.0f), sums(static_cast<std::size_t>(threads));
    const kernels::Run& run = report.options().pass.run;
    const auto seconds = sample(
        [&] {
          parallel_for(*run.executor, threads, [&](std::int64_t part, int) {
            kernels::read_sum({data.data() + part * per_thread, per_thread,
                               &sums[static_cast<std::size_t>(part)]},
                              run);
          });
        },
        report.options().repeat);
    report.rate("memory.read", level.name, "bytes", "GB/s", 1e-9 * static_cast<double>(bytes),
                seconds);
  }
}

void peak(const Report& report) {
  if (!report.wants("memory.peak", "fma")) return;
  report.rate("memory.peak", "fma", "fp32", "GFLOP/s", 1e-9 * report.peak_flops_per_second(),
              {1.0});
}

void products(const Report& report) {
  struct Shape {
    std::int64_t m, k, n;
  };
  std::vector<Shape> shapes = {{4096, 4096, 4096}};
  for (const std::int64_t m : {1, 16, 256})
    for (const Shape& s : {Shape{m, 4096, 4096}, Shape{m, 2048, 5632}}) shapes.push_back(s);
  for (const Shape& s : shapes)
    for (const bool bf16 : {false, true}) {
      const std::string shape = concat("m=", s.m, " k=", s.k, " n=", s.n, bf16 ? " bf16" : " fp32");
      if (!report.wants("memory.gemm", shape)) continue;
      // With few rows the weights come from memory: as many copies as make 256 Mi elements.
      const std::int64_t copies = s.m == 4096 ? 1 : (std::int64_t{256} << 20) / (s.k * s.n);
      const Tensor a = torch::randn({s.m, s.k}), b = torch::randn({copies * s.n, s.k});
      Tensor c = torch::empty({s.m, s.n});
      kernels::Gemm g;
      g.m = s.m, g.n = s.n, g.k = s.k;
      g.a = {a.const_data_ptr<float>(), s.k, kernels::Rows::outer};
      g.b = {b.const_data_ptr<float>(), s.k, kernels::Rows::outer};
      g.c = c.mutable_data_ptr<float>(), g.c_stride = s.n;
      g.precision = bf16 ? kernels::Precision::bf16 : kernels::Precision::f32;
      const auto seconds = sample(
          [&] {
            for (std::int64_t i = 0; i < copies; ++i) {
              g.b.data = b.const_data_ptr<float>() + i * s.n * s.k;
              kernels::matmul(g, report.options().pass.run);
            }
          },
          report.options().repeat, 0.2);
      const double work = 2.0 * static_cast<double>(copies * s.m * s.n * s.k);
      // Weights are float32 in memory for both.
      const double time = median(seconds),
                   of_bandwidth = 4.0 * static_cast<double>(copies * s.n * s.k) / time /
                                  report.bandwidth_bytes_per_second();
      Json extra = Json::object();
      if (s.m == 1)
        extra["share_of_limit"] = of_bandwidth;
      else if (!bf16)
        extra["share_of_limit"] = work / time / report.peak_flops_per_second();
      report.rate("memory.gemm", shape, bf16 ? "bf16" : "fp32", "GFLOP/s", 1e-9 * work, seconds,
                  extra);
    }
}

}  // namespace

void memory(const Report& report) {
  read_bandwidth(report);
  peak(report);
  products(report);
}

}  // namespace mote::bench
