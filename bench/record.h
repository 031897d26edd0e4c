// What every benchmark shares: timing, the machine's limits, and one record per row in the form
// that the peers' scripts print.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/fields.h"
#include "model/pass.h"

namespace mote::bench {

struct Options {
  int repeat = 5;
  std::string only;  // words that name, shape and peer of a row must all have
  int threads = 1;
  std::string model = {};  // of `generate`
  model::Pass pass = {};
};

// Seconds per call: after a warm-up, `repeat` samples of as many calls as take `least` seconds.
std::vector<double> sample(const std::function<void()>& call, int repeat, double least = 0.1);

double median(std::vector<double> values);

// The share of `seconds` that each operation took, and the rest.
Json shares_by_op(const model::OpTimes& times, double seconds);

class Report {
 public:
  Report(const Options& options, std::function<void(const Json&)> print);

  const Options& options() const { return options_; }
  // Whether a row is asked for.
  bool wants(const std::string& name, const std::string& shape) const;
  // One row of a rate: `work` per call in `unit`s. `extra` goes along, for reading.
  void rate(const std::string& name, const std::string& shape, const std::string& dtype,
            const std::string& unit, double work, const std::vector<double>& seconds,
            const Json& extra = Json::object()) const;
  // One row of another metric, whose least sample is the best: "time", "peak" memory.
  void least(const std::string& name, const std::string& shape, const std::string& dtype,
             const std::string& metric, const std::string& unit, const std::vector<double>& samples,
             const Json& extra = Json::object()) const;
  // Whether there was one.
  bool any() const { return any_; }

  // Measured once when first asked for, on the report's threads.
  double peak_flops_per_second() const;
  double bandwidth_bytes_per_second() const;

 private:
  void print(const std::string& name, const std::string& shape, const std::string& dtype,
             const Json& measured, const Json& extra) const;

  const Options options_;
  const std::function<void(const Json&)> print_;
  mutable double peak_ = 0, bandwidth_ = 0;
  mutable bool any_ = false;
};

// "Model name [avx2 ...]".
std::string cpu_name();

// Bytes per second of reading `bytes` once, on all threads of the executor; the best of three.
double measure_bandwidth(const kernels::Run& run, std::size_t bytes);
double measure_peak_flops(const kernels::Run& run);

void memory(const Report& report);
void moe_layer(const Report& report);
void peer_layer(const Report& report);
void layers(const Report& report);
void decode(const Report& report);
void generate(const Report& report);
void lm_train(const Report& report);
void matvec(const Report& report);
void quantize(const Report& report);

}  // namespace mote::bench
