// One token after the other through a model of recipes/long.toml's sizes with random weights, by
// storage: the rate, where the time goes, and what the memory would allow.
#include "bench/record.h"
#include "compress/methods/method.h"
#include "model/buffers.h"
#include "model/model.h"
#include "model/ops/timing.h"

namespace mote::bench {
namespace {

constexpr std::int64_t kVocabulary = 8192, kPrompt = 256, kTokens = 32;

checkpoint::ModelConfig long_config() {
  checkpoint::ModelConfig config;
  config.vocab_size = kVocabulary;
  config.layers = 4, config.dim = 512, config.context = 256;
  config.attention = checkpoint::TransformerXl{8, 64};
  config.feed_forward = checkpoint::Mixture{16, 512, {2, 0, 0}};
  return config;
}

// Stores the weights another way: experts packed, or every matrix in bfloat16.
class Storage final : public model::ParameterVisitor {
 public:
  Storage(const std::string& name, const model::Pass& pass) : name_(name), pass_(pass) {}
  void matrix(const model::Parameter& p, model::WeightPtr& weight) override {
    const Tensor dense = weight->to_dense().detach();
    if (name_ == "bf16") weight = model::make_dense_weight(dense.to(torch::kBFloat16));
    if (name_ == "f32") weight = model::make_dense_weight(dense);
    if ((name_ == "ternary" || name_ == "2-bit") && p.shape.size() == 3) {
      compress::MethodOptions options;
      options.bits = name_ == "2-bit" ? compress::Bits::two : compress::Bits::ternary;
      weight = compress::make_method(compress::MethodKind::rtn, options)
                   ->compress(*weight, {}, p.name, pass_)
                   .weight;
    }
    // What one token reads: its share of the experts, and of the embedding one row.
    if (p.name != "embedding.weight" && p.name.find(".position.") == std::string::npos)
      bytes += p.active * static_cast<double>(weight->bits()) / 8;
  }
  void tensor(const model::Parameter&, Tensor&) override {}
  double bytes = 0;

 private:
  const std::string name_;
  const model::Pass pass_;
};

}  // namespace

void decode(const Report& report) {
  const torch::NoGradGuard no_grad;
  for (const char* storage : {"f32", "bf16", "ternary", "2-bit"}) {
    const std::string shape = concat("layers=4 d=512 E=16 G=512 K=2 vocab=", kVocabulary,
                                     " after=", kPrompt, " tokens=1 ", storage);
    if (!report.wants("decode", shape)) continue;
    const auto lm = model::make_model(long_config());
    model::initialize(*lm, 1);
    model::Pass pass = report.options().pass;
    Storage stored(storage, pass);
    lm->visit(stored);
    model::OpTimes times;
    model::Buffers buffers;
    pass.times = &times, pass.buffers = &buffers;
    model::Cache cache = lm->make_cache();
    const auto next = [&](const Tensor& ids_BT) {
      model::ForwardState state(pass);
      state.caches = {&cache};
      const Tensor hidden = lm->hidden(ids_BT, state);
      return lm->logits(model::last_position(hidden), pass);
    };
    const Tensor prompt = torch::arange(kPrompt) * 31 % kVocabulary;
    const auto some_tokens = [&] {
      cache.reset();
      next(prompt.view({1, -1}));
      times.reset();
      const Stopwatch stopwatch;
      Tensor id = torch::full({1, 1}, 7, torch::kInt64);
      for (std::int64_t i = 0; i < kTokens; ++i) id = next(id).argmax(-1);
      return stopwatch.seconds();
    };
    some_tokens();
    std::vector<double> seconds;
    Json shares = Json::object();
    for (int i = 0; i < report.options().repeat; ++i) {
      seconds.push_back(some_tokens());
      shares = shares_by_op(times, seconds.back());
    }
    const double rate = kTokens / median(seconds);
    report.rate("decode", shape, storage, "tokens/s", kTokens, seconds,
                {{"limit", report.bandwidth_bytes_per_second() / stored.bytes},
                 {"share_of_limit", rate * stored.bytes / report.bandwidth_bytes_per_second()},
                 {"bytes_per_token", stored.bytes},
                 {"time_by_op", shares}});
  }
}

}  // namespace mote::bench
