// Lookup layers at large numbers of experts, router included, as the peers' script has them: forward,
// and a training step with Adam on rows. Beside each forward row stands what its multiply-adds and its
// rows take at the rates that the plainest loops reach here.
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "bench/layer.h"
#include "bench/record.h"
#include "checkpoint/work.h"
#include "kernels/core/limits/limits.h"
#include "kernels/linear/matmul/matmul.h"
#include "model/ops/bridge.h"
#include "train/optimizer/optimizer.h"

namespace mote::bench {
namespace {

constexpr std::int64_t kHeads = 8, kPicks = 16, kPerToken = kHeads * kPicks;

struct Case {
  bool peer;  // else a product-key memory
  std::int64_t experts, dim, tokens;
  bool step;
  bool bf16 = false;  // tables and moments

  double bytes_per_element() const { return bf16 ? 2 : 4; }
  std::int64_t tables() const { return peer ? 2 : 1; }
  double table_bytes() const {
    return bytes_per_element() * static_cast<double>(tables() * experts * dim);
  }
  // What a step holds: tables, two moments, the gradients of the rows that it picks where none is
  // picked twice, and scores, picks, gates and sums of its tokens.
  double held_bytes() const {
    const auto picks = static_cast<double>(tokens * kPerToken);
    const double rows =
        std::min(static_cast<double>(experts), picks) * static_cast<double>(tables() * dim) * 4;
    const double activations = 4 * (8 * picks + 12 * static_cast<double>(tokens * kHeads * dim));
    return (step ? 3 : 1) * table_bytes() + (step ? rows + activations : 0);
  }
  double row_bytes() const {
    return bytes_per_element() * static_cast<double>(kPerToken * tables() * dim);
  }
  std::string shape() const {
    return concat(peer ? "peer" : "pkm", " N=", experts, " d=", dim, " heads=", kHeads,
                  " k=", kPicks, " tokens=", tokens, bf16 ? " bf16-tables " : " fp32 ",
                  step ? "step-adam" : "forward");
  }
};

// Both as the peers have them: keys for all heads or for each, queries plain or normalised.
checkpoint::FeedForwardConfig config_of(const Case& c) {
  using checkpoint::LookupGate;
  using checkpoint::QueryNorm;
  const auto router = [&](bool share_keys, QueryNorm norm) {
    return checkpoint::ProductKeyRouter{kHeads, kPicks, share_keys, LookupGate::softmax,
                                        checkpoint::LinearQuery{c.dim, false, norm}};
  };
  if (!c.peer) return checkpoint::ProductKey{c.experts, router(false, QueryNorm::layer)};
  checkpoint::Peer peer;
  peer.experts = c.experts;
  peer.router = router(true, QueryNorm::none);
  return peer;
}

// Of one token's forward pass.
double flops_of(const Case& c) {
  checkpoint::ModelConfig config;
  config.layers = 1, config.dim = c.dim;
  config.feed_forward = config_of(c);
  return 2 * checkpoint::work_of(config, 1).forward.feed_forward;
}

// Bytes per second of reading rows anywhere in the tables, as many of each as a batch picks, others
// every time, on all threads.
double measure_row_bandwidth(const std::vector<model::RowTablePtr>& tables, std::int64_t rows,
                             const kernels::Run& run) {
  const Tensor& first = tables.front()->values();
  const std::int64_t columns =
                         first.size(1) * first.element_size() / 4,  // float32 that are as much
      threads = run.executor->threads();
  const std::int64_t each = rows / threads;
  const Tensor index = torch::randint(first.size(0), {4, rows}, torch::kInt32);
  std::vector<float> sums(static_cast<std::size_t>(threads));
  std::int64_t turn = 0;
  const auto seconds = sample(
      [&] {
        const auto* picks = index.const_data_ptr<std::int32_t>() + turn++ % 4 * rows;
        for (const model::RowTablePtr& table : tables)
          parallel_for(*run.executor, threads, [&](std::int64_t part, int) {
            kernels::read_rows(
                {static_cast<const float*>(table->values().const_data_ptr()), picks + part * each,
                 each, columns, &sums[static_cast<std::size_t>(part)]},
                run);
          });
      },
      5, 0.05);
  return 4.0 * static_cast<double>(each * threads * columns) * static_cast<double>(tables.size()) /
         median(seconds);
}

double measure_gemm(const kernels::Run& run) {
  constexpr std::int64_t kSize = 1024;
  const Tensor a = torch::randn({kSize, kSize}), b = torch::randn({kSize, kSize});
  Tensor c = torch::empty({kSize, kSize});
  kernels::Gemm g;
  g.m = g.n = g.k = kSize;
  g.a = {a.const_data_ptr<float>(), kSize, kernels::Rows::outer};
  g.b = {b.const_data_ptr<float>(), kSize, kernels::Rows::outer};
  g.c = c.mutable_data_ptr<float>(), g.c_stride = kSize;
  return 2.0 * kSize * kSize * kSize / median(sample([&] { kernels::matmul(g, run); }, 5));
}

void time_case(const Report& report, const Case& c, double gemm_flops) {
  const double copies = c.step ? 3 : 1;
  if (copies * c.table_bytes() > 0.9 * static_cast<double>(available_memory_bytes())) {
    log::warn(concat("left out: ", c.shape(), " needs about ",
                     format_bytes(copies * c.table_bytes()), ", there is ",
                     format_bytes(static_cast<double>(available_memory_bytes()))));
    return;
  }
  reset_peak_rss();
  const std::uint64_t before = rss_bytes();
  const Layer layer(config_of(c), c.dim, c.bf16 ? torch::kBFloat16 : torch::kFloat32);
  const model::Pass& pass = report.options().pass;
  std::vector<Tensor> batches;
  for (int i = 0; i < 4; ++i) batches.push_back(torch::randn({c.tokens, c.dim}));
  std::size_t turn = 0;
  const auto forward = [&] {
    const torch::NoGradGuard no_grad;
    layer.forward(batches[turn++ % 4], pass);
  };
  train::TrainingConfig training;
  training.clip_norm = 0;
  if (c.bf16) training.tables.values = training.tables.moments = train::StoredType::bf16;
  const auto optimizer =
      c.step ? train::make_optimizer(layer.parameters(), training, pass.run) : nullptr;
  const auto step = [&] {
    layer.forward(batches[turn++ % 4], pass).pow(2).mean().backward();
    optimizer->step(1e-4);
  };
  const auto seconds =
      sample(c.step ? std::function<void()>(step) : forward, report.options().repeat);
  const double time = median(seconds);
  Json extra = {{"ms", 1e3 * time},
                {"peak_MiB", static_cast<double>(peak_rss_bytes()) / (1 << 20)},
                {"own_MiB", static_cast<double>(peak_rss_bytes() - before) / (1 << 20)},
                {"model_MiB", c.held_bytes() / (1 << 20)}};
  if (!c.step) {
    const double rows =
        measure_row_bandwidth(layer.parameters().tables, c.tokens * kPerToken, pass.run);
    const double limit = flops_of(c) / gemm_flops + c.row_bytes() / rows;
    extra["row_GB_per_s"] = 1e-9 * rows;
    extra["gemm_GFLOP_per_s"] = 1e-9 * gemm_flops;
    extra["us_per_token"] = 1e6 * time / static_cast<double>(c.tokens);
    extra["model_us_per_token"] = 1e6 * limit;
    extra["share_of_limit"] = limit * static_cast<double>(c.tokens) / time;
  }
  report.rate("peer_layer", c.shape(), c.bf16 ? "bf16 tables, fp32 products" : "fp32", "tokens/s",
              static_cast<double>(c.tokens), seconds, extra);
}

}  // namespace

void peer_layer(const Report& report) {
  std::optional<double> gemm_flops;
  for (const bool peer : {true, false})
    for (const std::int64_t dim : {256, 1024})
      for (const int log2 : {14, 16, 18, 20})
        for (const std::int64_t tokens : {64, 512, 2048})
          for (const bool bf16 : {false, true})
            for (const bool step : {false, true}) {
              const Case c{peer, std::int64_t{1} << log2, dim, tokens, step, bf16};
              if (tokens != 512 && (log2 != 18 || dim != 256)) continue;
              if (!report.wants("peer_layer", c.shape())) continue;
              if (!gemm_flops) gemm_flops = measure_gemm(report.options().pass.run);
              time_case(report, c, *gemm_flops);
            }
}

}  // namespace mote::bench
