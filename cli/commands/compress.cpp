#include "base/process.h"
#include "cli/command.h"
#include "compress/compressor.h"
#include "model/saved.h"

namespace mote::cli {
namespace {

class Compress final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "a trained model's folder, or its model.safetensors")
        ->required();
    app.add_option("OUT", out_, "a new folder")->required();
    app.add_option("--bits", bits_, "ternary or 2")->required();
    app.add_option("--method", method_,
                   "gptq (error-corrected; also called qmoe) or rtn (to nearest)");
    app.add_option("--coder", coder_, "auto, q16 (ternary) or two_bit (2)");
    app.add_option("--layers", options_.layers,
                   "experts, all (but routers), or a pattern of names such as 'blocks.*.out.*'");
    app.add_option("--calibration", options_.calibration,
                   "corpus to learn from (default: gcide:train)");
    app.add_option("--validation", options_.validation, "corpus to score before and after");
    app.add_option("--samples", options_.samples, "calibration samples of 1,024 tokens")
        ->check(CLI::Range(1, 1 << 24));
    app.add_option("--damping", options_.rounding.damping, "of the mean second moment")
        ->check(CLI::Range(0.0, 1e12));
    app.add_flag("--act-order", options_.rounding.act_order, "round the strongest inputs first");
    app.add_flag("--search-clip", options_.rounding.search_clip,
                 "levels by least error instead of the extremes");
    app.add_flag("--true-sequential", options_.true_sequential,
                 "moments of what the packed weights before make");
    app.add_flag("--match-outputs", options_.match_outputs,
                 "refit each weight to the packed ones before it");
  }

  Json run(const Context& context) override {
    set_choices();
    if (context.seed) options_.seed = *context.seed;
    const compress::CompressReport r =
        compress::compress(model::find_model(model_), out_, options_, context.pass());
    Json facts = {{"bytes_before", r.bytes_before}, {"bytes_after", r.bytes_after}};
    if (r.experts > 0) {
      facts["expert_bits_per_weight"] = r.expert_bits_per_weight;
      facts["expert_ratio"] = 16 / r.expert_bits_per_weight;  // against bfloat16, as papers count
    }
    facts["matrices"] = r.matrices;
    facts["bits_per_weight"] = r.bits_per_weight;
    facts["model_ratio"] = static_cast<double>(r.bytes_before) / static_cast<double>(r.bytes_after);
    facts["zeros"] = r.zeros;
    facts["entropy_bits_per_weight"] = r.entropy_bits_per_weight;
    if (r.validated) facts["loss_before"] = r.loss_before, facts["loss_after"] = r.loss_after;
    if (r.experts > 0)
      facts["experts"] = {{"total", r.experts},
                          {"calibrated", r.calibrated},
                          {"fallback", r.experts - r.calibrated}};
    facts["calibration_tokens"] = r.calibration_tokens;
    facts["seconds"] = r.seconds;
    facts["peak_rss_bytes"] = peak_rss_bytes();
    return facts;
  }

 private:
  void set_choices() {
    const auto refuse = [](const char* flag, const std::string& value, const std::string& known) {
      throw Error(ErrorKind::usage, concat(flag, " ", value, ": choose ", known)).at(flag);
    };
    if (bits_ != "ternary" && bits_ != "2") refuse("--bits", bits_, "ternary or 2");
    options_.rounding.bits = bits_ == "2" ? compress::Bits::two : compress::Bits::ternary;
    if (method_ != "gptq" && method_ != "qmoe" && method_ != "rtn")
      refuse("--method", method_, "gptq, qmoe or rtn");
    options_.method = method_ == "rtn" ? compress::MethodKind::rtn : compress::MethodKind::gptq;
    const std::string coder = bits_ == "2" ? "two_bit" : "q16";
    if (coder_ != "auto" && coder_ != coder)
      refuse("--coder", coder_, concat("auto or ", coder, " with --bits ", bits_));
  }

  std::string model_, out_, bits_, method_ = "gptq", coder_ = "auto";
  compress::CompressOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_compress() {
  return std::make_unique<Compress>();
}

}  // namespace mote::cli
