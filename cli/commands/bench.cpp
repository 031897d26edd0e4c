#include <cstdio>
#include <iostream>

#include "base/nearest.h"
#include "base/process.h"
#include "bench/record.h"
#include "cli/command.h"

namespace mote::cli {
namespace {

struct Workload {
  const char* name;
  void (*run)(const bench::Report&);
};
constexpr Workload kWorkloads[] = {
    {"memory", bench::memory},       {"matvec", bench::matvec},
    {"moe-layer", bench::moe_layer}, {"peer-layer", bench::peer_layer},
    {"layers", bench::layers},       {"lm-train", bench::lm_train},
    {"decode", bench::decode},       {"generate", bench::generate},
    {"quantize", bench::quantize}};

class Bench final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option(
        "NAME", names_,
        "memory, matvec, moe-layer, peer-layer, layers, lm-train, decode, generate (with --model), "
        "quantize (default: all)");
    app.add_option("--only", only_,
                   "rows whose name and shape have all these words (default: all rows)")
        ->check(not_empty());
    app.add_option("--model", model_,
                   "what generate runs: a folder, a GGUF file, or pypi:NAME (default: none)")
        ->check(not_empty());
    activations_.add(app);
    app.add_option("--repeat", repeat_, "samples per row")->check(from_to(1, 1000));
  }

  Json run(const Context& context) override {
    keep_freed_memory();             // as in training
    end_on_interrupt(context.json);  // rows stand as they were printed
    std::vector<std::string> known;
    for (const Workload& w : kWorkloads) known.push_back(w.name);
    for (const std::string& name : names_)
      if (std::find(known.begin(), known.end(), name) == known.end())
        throw Error(ErrorKind::usage,
                    concat("bench ", name, ": no such workload", did_you_mean(name, known)))
            .at("NAME");
    const auto asked = [&](const std::string& name) {
      if (names_.empty()) return name != "generate" || !model_.empty();
      return std::find(names_.begin(), names_.end(), name) != names_.end();
    };
    if (asked("generate") && model_.empty())
      throw Error(ErrorKind::usage, "bench generate: name the model with --model").at("--model");
    if (!asked("generate") && activations_.int8())
      throw Error(ErrorKind::usage,
                  "--activations: only generate runs a model; add it, or leave the flag out")
          .at("--activations");
    if (!asked("generate") && !model_.empty())
      throw Error(ErrorKind::usage,
                  "--model: only generate runs a model; add it, or leave the flag out")
          .at("--model");
    bench::Options options{repeat_, only_, context.threads, model_, context.pass()};
    options.pass.int8_activations = activations_.int8();
    const bench::Report report(options, [&](const Json& row) { print(row, context.json); });
    for (const Workload& w : kWorkloads)
      if (asked(w.name)) w.run(report);
    if (!report.any())
      throw Error(ErrorKind::usage, concat("--only ", quoted(Json(only_)),
                                           ": no row has all these words in its name and shape; "
                                           "leave it out to see the rows"))
          .at("--only");
    return nullptr;
  }

 private:
  static void print(const Json& row, bool json) {
    if (json) {
      std::cout << row.dump() << std::endl;
      return;
    }
    std::printf("%-15s %-72s %12.5g %s", row["name"].get<std::string>().c_str(),
                row["shape"].get<std::string>().c_str(), row["median"].get<double>(),
                row["unit"].get<std::string>().c_str());
    for (const char* key :
         {"kind", "bits_per_weight", "ratio_to_bf16", "GFLOP_per_s", "limit", "share_of_limit",
          "us_per_token", "model_us_per_token", "row_GB_per_s", "own_MiB", "model_MiB"})
      if (row.contains(key)) std::printf("  %s=%s", key, row[key].dump().substr(0, 8).c_str());
    if (row.contains("time_by_op"))
      for (const auto& [op, share] : row["time_by_op"].items())
        std::printf("  %s=%.0f%%", op.c_str(), 100 * share.get<double>());
    std::printf("\n");
    std::fflush(stdout);
  }

  std::vector<std::string> names_;
  std::string only_, model_;
  ActivationsOption activations_;
  int repeat_ = 5;
};

}  // namespace

std::unique_ptr<Verb> make_bench() {
  return std::make_unique<Bench>();
}

}  // namespace mote::cli
