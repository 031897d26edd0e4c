// What a layer costs as it grows (specs/sparse-ffn 5.3): time of forward and backward, what forward
// keeps for backward, and the most memory beside the parameters.
#include <malloc.h>

#include "base/process.h"
#include "bench/layer.h"
#include "bench/record.h"

namespace mote::bench {
namespace {

constexpr std::int64_t kTokens = 2048, kPerToken = 4;

// Bytes that are allocated and not freed.
double allocated() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

std::int64_t square_near(std::int64_t n) {
  const auto root = std::llround(std::sqrt(static_cast<double>(n)));
  return root * root;
}

struct Row {
  const char* kind;
  checkpoint::FeedForwardConfig config;
  std::string sizes;
};

// The four kinds at a width f of all hidden units together; the mixture cuts it into `experts`.
std::vector<Row> kinds(std::int64_t f, std::int64_t experts) {
  const std::int64_t width = f / experts, values = square_near(f);
  checkpoint::ProductKey memory;
  memory.values = values;
  checkpoint::Peer peer;
  peer.experts = values;
  return {{"dense", checkpoint::Dense{f}, concat("f=", f)},
          {"sigma-moe", checkpoint::Mixture{experts, width, {std::min(kPerToken, experts), 0, 0}},
           concat("f=", f, " E=", experts, " G=", width, " K=", std::min(kPerToken, experts))},
          {"pkm", memory, concat("f=", f, " N=", values)},
          {"peer", peer, concat("f=", f, " N=", values)}};
}

void time_row(const Report& report, const char* sweep, std::int64_t x, std::int64_t dim,
              const Row& row) {
  const std::string shape = concat(row.kind, " sweep=", sweep, " d=", dim, " ", row.sizes,
                                   " tokens=", kTokens, " fp32 forward+backward");
  if (!report.wants("layers", shape)) return;
  stop_if_interrupted();
  const Layer layer(row.config, dim);
  const model::Pass& pass = report.options().pass;
  const Tensor x_ND = torch::randn({kTokens, dim});
  const auto step = [&] {
    layer.forward_and_backward(x_ND, pass);
    layer.forget_gradients();
  };
  step();
  double kept = 0;
  {
    const Tensor input = x_ND.detach().requires_grad_();
    const double before = allocated();
    const Tensor y = layer.forward(input, pass);
    kept = allocated() - before - static_cast<double>(y.nbytes());
  }
  reset_peak_rss();
  const auto resident = static_cast<double>(rss_bytes());
  step();
  const double peak = static_cast<double>(peak_rss_bytes()) - resident;
  std::vector<double> milliseconds;
  for (const double each : sample(step, report.options().repeat))
    milliseconds.push_back(1e3 * each);
  const Json extra = {{"layer", row.kind}, {"sweep", sweep}, {"size", x}};
  report.least("layers", shape, "fp32", "time", "ms", milliseconds, extra);
  report.least("layers", shape, "fp32", "saved", "MiB", {kept / (1 << 20)}, extra);
  report.least("layers", shape, "fp32", "peak", "MiB", {peak / (1 << 20)}, extra);
}

}  // namespace

void layers(const Report& report) {
  const auto sweep = [&](const char* name, std::int64_t x, std::int64_t dim, std::int64_t f,
                         std::int64_t experts) {
    for (const Row& row : kinds(f, experts)) time_row(report, name, x, dim, row);
  };
  // The paper's figures 2, 8, 9, 10 and 11.
  for (std::int64_t d = 256; d <= 4096; d *= 2) sweep("d:G=128,f=4d", d, d, 4 * d, 4 * d / 128);
  for (std::int64_t d = 256; d <= 4096; d *= 2) sweep("d:E=32,f=4d", d, d, 4 * d, 32);
  for (std::int64_t e = 8; e <= 256; e *= 2) sweep("E:G=128", e, 512, 128 * e, e);
  for (std::int64_t g = 64; g <= 1024; g *= 2) sweep("G:E=32", g, 512, 32 * g, 32);
  for (std::int64_t d = 128; d <= 2048; d *= 2) sweep("d:G=128,E=32", d, d, 4096, 32);
  // Lookup layers far beyond what a matrix is for.
  for (std::int64_t n = 1 << 14; n <= 1 << 20; n *= 4)
    for (const Row& row : kinds(n, 1))
      if (std::string_view(row.kind) == "pkm" || std::string_view(row.kind) == "peer")
        time_row(report, "N", n, 256, row);
}

}  // namespace mote::bench
