#include "bench/record.h"

#include "model/ops/timing.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/stopwatch.h"
#include "kernels/core/limits/limits.h"

namespace mote::bench {
namespace {

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> found;
  for (std::string word; in >> word;) found.push_back(word);
  return found;
}

}  // namespace

Json shares_by_op(const model::OpTimes& times, double seconds) {
  Json shares = Json::object();
  double rest = seconds;
  for (const auto& [op, time] : times.seconds()) {
    shares[std::string(op)] = time / seconds;
    rest -= time;
  }
  shares["rest"] = rest / seconds;
  return shares;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

std::vector<double> sample(const std::function<void()>& call, int repeat, double least) {
  call();
  Stopwatch stopwatch;
  call();
  const int calls =
      std::max(1, static_cast<int>(least / std::max(stopwatch.seconds(), 1e-7) + 0.5));
  std::vector<double> seconds;
  for (int i = 0; i < repeat; ++i) {
    stopwatch.restart();
    for (int c = 0; c < calls; ++c) call();
    seconds.push_back(stopwatch.seconds() / calls);
  }
  return seconds;
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string model = "unknown", flags;
  for (std::string line; std::getline(info, line) && flags.empty();) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
    if (line.rfind("model name", 0) == 0) model = value;
    if (line.rfind("flags", 0) == 0) flags = " " + value + " ";
  }
  std::vector<std::string> widest;
  for (const char* flag : {"avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"})
    if (flags.find(" " + std::string(flag) + " ") != std::string::npos) widest.push_back(flag);
  std::string text = model + " [";
  for (std::size_t i = widest.size() > 3 ? widest.size() - 3 : 0; i < widest.size(); ++i)
    text += widest[i] + (i + 1 < widest.size() ? " " : "");
  return text + "]";
}

double measure_bandwidth(const kernels::Run& run, std::size_t bytes) {
  const int threads = run.executor->threads();
  const auto per_thread = static_cast<kernels::Index>(bytes / sizeof(float) /
                                                      static_cast<std::size_t>(threads) / 64 * 64);
  std::vector<float> data(static_cast<std::size_t>(per_thread) * static_cast<std::size_t>(threads),
                          1.0f);
  std::vector<float> sums(static_cast<std::size_t>(threads));
  double best = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const Stopwatch stopwatch;
    parallel_for(*run.executor, threads, [&](std::int64_t part, int) {
      kernels::read_sum(
          {data.data() + part * per_thread, per_thread, &sums[static_cast<std::size_t>(part)]},
          run);
    });
    best = std::max(best, static_cast<double>(data.size() * sizeof(float)) / stopwatch.seconds());
  }
  return best;
}

double measure_peak_flops(const kernels::Run& run) {
  const int threads = run.executor->threads();
  double best = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::vector<kernels::Index> operations(static_cast<std::size_t>(threads));
    std::vector<float> sinks(operations.size());
    const Stopwatch stopwatch;
    parallel_for(*run.executor, threads, [&](std::int64_t part, int) {
      const auto i = static_cast<std::size_t>(part);
      kernels::peak_flops({3'000'000, &operations[i], &sinks[i]}, run);
    });
    double total = 0;
    for (const kernels::Index n : operations) total += static_cast<double>(n);
    best = std::max(best, total / stopwatch.seconds());
  }
  return best;
}

Report::Report(const Options& options, std::function<void(const Json&)> print)
    : options_(options), print_(std::move(print)) {}

bool Report::wants(const std::string& name, const std::string& shape) const {
  const std::vector<std::string> have = words(name + " mote " + shape);
  for (const std::string& word : words(options_.only))
    if (std::find(have.begin(), have.end(), word) == have.end()) return false;
  return true;
}

void Report::rate(const std::string& name, const std::string& shape, const std::string& dtype,
                  const std::string& unit, double work, const std::vector<double>& seconds,
                  const Json& extra) const {
  std::vector<double> rates;
  for (const double s : seconds) rates.push_back(work / s);
  print(name, shape, dtype,
        {{"metric", "rate"},
         {"unit", unit},
         {"median", median(rates)},
         {"min", *std::min_element(rates.begin(), rates.end())},
         {"best", *std::max_element(rates.begin(), rates.end())},
         {"n", rates.size()}},
        extra);
}

void Report::least(const std::string& name, const std::string& shape, const std::string& dtype,
                   const std::string& metric, const std::string& unit,
                   const std::vector<double>& samples, const Json& extra) const {
  const double best = *std::min_element(samples.begin(), samples.end());
  print(name, shape, dtype,
        {{"metric", metric},
         {"unit", unit},
         {"median", median(samples)},
         {"min", best},
         {"best", best},
         {"n", samples.size()}},
        extra);
}

void Report::print(const std::string& name, const std::string& shape, const std::string& dtype,
                   const Json& measured, const Json& extra) const {
  Json row = {{"name", name},
              {"peer", "mote"},
              {"version", MOTE_VERSION},
              {"shape", shape},
              {"dtype", dtype},
              {"threads", options_.threads},
              {"isa", kernels::family(std::min(options_.pass.run.ceiling, kernels::best_isa()))}};
  row.update(measured);
  row.update({{"cpu", cpu_name()}, {"clock", "wall"}});
  row.update(extra);
  print_(row);
  any_ = true;
}

double Report::peak_flops_per_second() const {
  if (peak_ == 0) peak_ = measure_peak_flops(options_.pass.run);
  return peak_;
}

double Report::bandwidth_bytes_per_second() const {
  if (bandwidth_ == 0) bandwidth_ = measure_bandwidth(options_.pass.run, std::size_t{1} << 30);
  return bandwidth_;
}

}  // namespace mote::bench
