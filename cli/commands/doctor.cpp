#include <torch/version.h>

#include "base/parallel.h"
#include "base/process.h"
#include "bench/record.h"
#include "cli/command.h"
#include "text/corpus.h"

namespace mote::cli {
namespace {

class Doctor final : public Verb {
 public:
  void add_options(CLI::App&) override {}

  Json run(const Context& context) override {
    Json isas = Json::array(), corpora = Json::object(), problems = Json::array();
    for (const kernels::Isa isa : kernels::compiled_isas())
      if (kernels::supported(isa)) isas.push_back(kernels::name(isa));
    if (kernels::best_isa() == kernels::Isa::reference)
      problems.push_back(
          "no AVX2: everything runs on the plain reference loops, many times slower");
    for (const text::KnownCorpus& corpus : text::known_corpora()) {
      corpora[corpus.name] = corpus.problem.empty() ? "ready" : corpus.problem;
      if (!corpus.problem.empty())
        problems.push_back(concat("corpus ", corpus.name, ": ", corpus.problem));
    }
    std::error_code error;
    const auto space = std::filesystem::space(".", error);
    if (!error && space.available < (std::uint64_t{1} << 30))
      problems.push_back("less than 1 GB free here: training and compression may not finish");
    return {
        {"cpu", bench::cpu_name()},
        {"isa", isas},
        {"cores", physical_cores()},
        {"memory_bytes", memory_bytes()},
        {"disk_free_bytes", error ? 0 : space.available},
        {"bandwidth_bytes_per_second", bench::measure_bandwidth(context.run, std::size_t{1} << 28)},
        {"libtorch", TORCH_VERSION},
        {"corpora", corpora},
        {"problems", problems}};
  }
};

}  // namespace

std::unique_ptr<Verb> make_doctor() {
  return std::make_unique<Doctor>();
}

}  // namespace mote::cli
