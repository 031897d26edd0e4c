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
        ->required()
        ->check(not_empty());
    app.add_option("OUT", out_, "a new folder")->required()->check(not_empty());
    app.add_option("--bits", bits_, "ternary or 2")->required()->check(not_empty());
    app.add_option("--method", method_,
                   "gptq (error-corrected; also called qmoe) or rtn (to nearest)")
        ->check(not_empty());
    app.add_option("--coder", coder_, "auto, q16 (ternary) or two_bit (2)")->check(not_empty());
    app.add_option("--layers", options_.layers,
                   "experts, all (but routers), or a pattern of names such as 'blocks.*.out.*'")
        ->check(not_empty());
    app.add_option("--validation", options_.validation,
                   "corpus to score before and after (default: what the model was validated on)")
        ->check(not_empty());
    app.add_option("--validation-bytes", options_.validation_bytes,
                   "score the first bytes of it; 0: all (default: as many as training scored of "
                   "the model's own text, 300000 of another)")
        ->check(from_to(std::int64_t{0}, kMostNumber));
    calibrated_ = {
        app.add_option("--calibration", options_.calibration,
                       "corpus to learn from (default: what the model was trained on, or "
                       "gcide:train)")
            ->check(not_empty()),
        app.add_option("--samples", options_.samples, "calibration samples of 1,024 tokens")
            ->check(from_to(1, 1 << 24)),
        app.add_option("--damping", options_.rounding.damping, "of the mean second moment")
            ->check(from_to(0.0, 1e12)),
        app.add_flag("--act-order", options_.rounding.act_order,
                     "round the strongest inputs first"),
        app.add_flag("--search-clip", options_.rounding.search_clip,
                     "levels by least error instead of the extremes"),
        app.add_flag("--true-sequential", options_.true_sequential,
                     "moments of what the packed weights before make"),
        app.add_flag("--match-outputs", options_.match_outputs,
                     "refit each weight to the packed ones before it (and --true-sequential)"),
        app.add_flag("--count-special", options_.count_special,
                     "of encoder-decoders: experts learn from special tokens too"),
        app.get_option("--seed")};
    format_.add(app);
  }

  Json run(const Context& context) override {
    set_choices();
    options_.format = format_.format();
    return whole_or_nothing(out_, [&] { return compress(context); });
  }

 private:
  Json compress(const Context& context) {
    if (context.seed) options_.seed = *context.seed;
    const compress::CompressReport r =
        compress::compress(model::find_model(model_), out_, options_, context.pass());
    Json facts = {{"bytes_before", r.bytes_before}, {"bytes_after", r.bytes_after}};
    if (r.experts > 0) {
      facts["expert_bits_per_weight"] = r.expert_bits_per_weight;
      facts["expert_ratio"] = 16 / r.expert_bits_per_weight;
    }
    facts["matrices"] = r.matrices;
    facts["bits_per_weight"] = r.bits_per_weight;
    facts["model_ratio"] =
        2 * static_cast<double>(r.parameters) / static_cast<double>(r.bytes_after);
    facts["ratio_base"] = "bfloat16";  // as papers count
    facts["zeros"] = r.zeros;
    facts["entropy_bits_per_weight"] = r.entropy_bits_per_weight;
    if (r.validated)
      facts.update({{"loss_before", r.loss_before},
                    {"loss_after", r.loss_after},
                    {"validation", r.validation},
                    {"validation_bytes", r.validation_bytes}});
    if (r.experts > 0)
      facts["experts"] = {{"total", r.experts},
                          {"calibrated", r.calibrated},
                          {"fallback", r.experts - r.calibrated}};
    if (!r.calibration.empty())
      facts.update({{"calibration", r.calibration},
                    {"samples", r.samples},
                    {"calibration_tokens", r.calibration_tokens}});
    facts["seconds"] = r.seconds;
    facts["peak_rss_bytes"] = peak_rss_bytes();
    const std::int64_t fallback = r.experts - r.calibrated;
    if (options_.method == compress::MethodKind::gptq && fallback * kFewestForWarning > r.experts)
      facts["warning"] =
          concat(fallback, " of ", r.experts,
                 " experts saw no usable calibration text and were rounded to nearest; give more "
                 "--samples, or text like what the model was trained on");
    return facts;
  }

  static constexpr std::int64_t kFewestForWarning = 10;  // one expert in so many

  void set_choices() {
    const auto refuse = [](const char* flag, const std::string& value, const std::string& known) {
      throw Error(ErrorKind::usage, concat(flag, " ", value, ": choose ", known)).at(flag);
    };
    if (bits_ != "ternary" && bits_ != "2") refuse("--bits", bits_, "ternary or 2");
    options_.rounding.bits = bits_ == "2" ? compress::Bits::two : compress::Bits::ternary;
    if (method_ != "gptq" && method_ != "qmoe" && method_ != "rtn")
      refuse("--method", method_, "gptq, qmoe or rtn");
    options_.method = method_ == "rtn" ? compress::MethodKind::rtn : compress::MethodKind::gptq;
    if (options_.method == compress::MethodKind::rtn)
      for (const CLI::Option* option : calibrated_) refuse_unused(option, "--method rtn", "gptq");
    if (options_.calibration.empty() && options_.validation.empty())
      for (const CLI::Option* option : format_.options())
        refuse_unused(option, "the model's own text, read as its recipe says,",
                      "another by --calibration or --validation");
    const std::string coder = bits_ == "2" ? "two_bit" : "q16";
    if (coder_ != "auto" && coder_ != coder)
      refuse("--coder", coder_, concat("auto or ", coder, " with --bits ", bits_));
  }

  std::string model_, out_, bits_, method_ = "gptq", coder_ = "auto";
  TextFormatOptions format_;
  compress::CompressOptions options_;
  std::vector<const CLI::Option*> calibrated_;  // what only methods that calibrate use
};

}  // namespace

std::unique_ptr<Verb> make_compress() {
  return std::make_unique<Compress>();
}

}  // namespace mote::cli
