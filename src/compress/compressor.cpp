#include "compress/compressor.h"

#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/linalg_cholesky_ex.h>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stopwatch.h"
#include "compress/calibration.h"
#include "model/experts/mixture.h"
#include "model/loss.h"
#include "model/saved.h"

namespace mote::compress {
namespace {

namespace fs = std::filesystem;

// The calibration samples on their way through the model: one buffer, a view per sample.
struct Samples {
  Tensor x_ND;
  std::vector<Tensor> views_1TD;

  Samples(const model::LanguageModel& model, const std::vector<std::vector<text::TokenId>>& samples,
          const model::Pass& pass) {
    std::int64_t rows = 0;
    for (const auto& sample : samples) rows += static_cast<std::int64_t>(sample.size());
    x_ND = torch::empty({rows, model.config().dim}, torch::kFloat32);
    std::int64_t first = 0;
    for (const auto& sample : samples) {
      const Tensor ids =
          torch::tensor(at::ArrayRef<text::TokenId>(sample), torch::kInt64).unsqueeze(0);
      views_1TD.push_back(x_ND.narrow(0, first, ids.size(1)).unsqueeze(0));
      views_1TD.back().copy_(model.embed(ids, 0, pass));
      first += ids.size(1);
    }
  }
};

// Rows as they enter the feed-forward layer, and the experts they go to.
struct Chunk {
  Tensor h_ND;
  std::shared_ptr<const model::ops::SortedRoutes> routes;
};
// Routed rows at a time, so that memory beyond the residual stream does not grow with the
// calibration text.
constexpr std::int64_t kChunkRows = 16384;

class Compressor {
 public:
  Compressor(model::LanguageModel& model, const CompressOptions& options, const model::Pass& pass)
      : model_(model),
        options_(options),
        pass_(pass),
        method_(make_method(options.method, options.rounding)) {}

  void run(const std::vector<std::vector<text::TokenId>>& samples);
  CompressReport& report() { return report_; }

 private:
  void compress_block(std::int64_t index, Samples& samples);
  void compress_experts(std::int64_t index, model::TransformerBlock& block, const Tensor& x_ND);
  template <class Body>
  void for_each_rows(const Tensor& x_ND, const Body& body) const;
  template <class Body>
  void for_each_chunk(model::TransformerBlock& block, const Tensor& x_ND, const Body& body) const;
  Tensor refitted_down(const Tensor& down_EDG, const Moments& c, const Moments& v) const;
  void add(const MethodResult& result);

  model::LanguageModel& model_;
  const CompressOptions options_;
  const model::Pass pass_;
  const std::unique_ptr<Method> method_;
  CompressReport report_;
  std::int64_t weights_ = 0, zeros_ = 0;
  std::uint64_t bits_ = 0;
  double entropy_bits_ = 0;
};

void Compressor::add(const MethodResult& result) {
  weights_ += result.weight->shape().count();
  bits_ += result.weight->bits();
  zeros_ += result.zeros;
  entropy_bits_ += result.entropy_bits;
}

// down' minimises, per expert, sum |down u - down' v|^2 + damp |down' - down|^2 over its
// calibration rows, where u is what the original `up` makes and v what the packed one does: down' =
// (down C + damp down)(V + damp I)^-1 with C = sum u v^T, V = sum v v^T.
Tensor Compressor::refitted_down(const Tensor& down_EDG, const Moments& c, const Moments& v) const {
  const Tensor c_EGG = c.sum_ELR().to(torch::kFloat64), v_EGG = v.sum_ELR().to(torch::kFloat64);
  const Tensor damp_E11 = (options_.rounding.damping * v_EGG.diagonal(0, 1, 2).mean(1))
                              .clamp_min(1e-6)
                              .view({-1, 1, 1});
  const Tensor damped_EGG = v_EGG + damp_E11 * torch::eye(v_EGG.size(1), torch::kFloat64);
  const Tensor down = down_EDG.to(torch::kFloat64);
  const Tensor wanted_EDG = down.matmul(c_EGG) + damp_E11 * down;
  Tensor refitted_EDG = torch::empty_like(down);
  parallel_for(*pass_.run.executor, down.size(0), [&](std::int64_t e, int) {
    const torch::NoGradGuard no_grad;
    const auto [lower, failed] = at::linalg_cholesky_ex(damped_EGG[e]);
    const Tensor solved =
        failed.item<int>() == 0 ? at::cholesky_solve(wanted_EDG[e].t(), lower).t() : Tensor();
    refitted_EDG[e].copy_(solved.defined() && solved.isfinite().all().item<bool>() ? solved
                                                                                   : down[e]);
  });
  return refitted_EDG.to(torch::kFloat32);
}

template <class Body>
void Compressor::for_each_rows(const Tensor& x_ND, const Body& body) const {
  const model::FeedForwardConfig& ff = model_.config().feed_forward;
  const std::int64_t most = std::max<std::int64_t>(1, kChunkRows / ff.experts_per_token);
  for (std::int64_t first = 0; first < x_ND.size(0); first += most) {
    stop_if_interrupted();
    body(x_ND.narrow(0, first, std::min(most, x_ND.size(0) - first)));
  }
}

template <class Body>
void Compressor::for_each_chunk(model::TransformerBlock& block, const Tensor& x_ND,
                                const Body& body) const {
  const model::Mixture& mixture = *block.feed_forward().mixture();
  for_each_rows(x_ND, [&](const Tensor& rows) {
    const Tensor h_ND = block.feed_forward_input(rows.unsqueeze(0), pass_);
    body(Chunk{h_ND, mixture.router().route({.x_ND = h_ND, .pass = pass_}).routes});
  });
}

void Compressor::compress_experts(std::int64_t index, model::TransformerBlock& block,
                                  const Tensor& x_ND) {
  model::ExpertBank& bank = block.feed_forward().mixture()->experts();
  const std::string name = concat("blocks.", index, ".feed_forward.experts");
  const model::WeightShape up_shape = bank.up->shape(), down_shape = bank.down->shape();
  const std::int64_t experts = up_shape.experts;
  const std::int64_t counted = method_->needs_statistics() ? experts : 0;
  const std::int64_t routed = x_ND.size(0) * model_.config().feed_forward.experts_per_token;
  const std::int64_t cap = std::max<std::int64_t>(1, options_.cap_factor * routed / experts);
  const auto hidden = [&](const model::Weight& up, const Chunk& chunk) {
    return up
        .multiply(chunk.h_ND.index_select(0, chunk.routes->token_R), chunk.routes.get(), {}, pass_)
        .relu_();
  };
  Moments up_inputs(counted, up_shape.in, up_shape.in, cap);
  if (method_->needs_statistics())
    for_each_chunk(block, x_ND, [&](const Chunk& chunk) {
      const MomentRows h{chunk.h_ND, chunk.routes->token_R.const_data_ptr<std::int32_t>()};
      up_inputs.add(h, h, *chunk.routes, pass_);
    });
  const MethodResult up = method_->compress(
      bank.up->to_dense(), {up_inputs.sum_ELR(), up_inputs.rows()}, name + ".up", pass_);

  Tensor down_EDG = bank.down->to_dense();
  Moments down_inputs(counted, down_shape.in, down_shape.in, cap);
  if (method_->needs_statistics()) {
    Moments original_by_packed(options_.match_outputs ? experts : 0, down_shape.in, down_shape.in,
                               cap);
    const bool from_packed = options_.true_sequential || options_.match_outputs;
    for_each_chunk(block, x_ND, [&](const Chunk& chunk) {
      const MomentRows u{hidden(from_packed ? *up.weight : *bank.up, chunk)};
      down_inputs.add(u, u, *chunk.routes, pass_);
      if (options_.match_outputs)
        original_by_packed.add({hidden(*bank.up, chunk)}, u, *chunk.routes, pass_);
    });
    if (options_.match_outputs)
      down_EDG = refitted_down(down_EDG.detach(), original_by_packed, down_inputs);
  }
  const MethodResult down = method_->compress(down_EDG, {down_inputs.sum_ELR(), down_inputs.rows()},
                                              name + ".down", pass_);
  add(up);
  add(down);
  report_.experts += experts;
  report_.calibrated += std::min(up.calibrated, down.calibrated);
  bank.up = up.weight;
  bank.down = down.weight;
  log::debug(concat(name, ": error ", up.error, " and ", down.error));
}

void Compressor::compress_block(std::int64_t index, Samples& samples) {
  model::TransformerBlock& block = model_.block(index);
  for (Tensor& x_1TD : samples.views_1TD) {
    stop_if_interrupted();
    model::Cache cache = model_.make_cache();
    x_1TD.copy_(block.attend(x_1TD, cache, pass_));
  }
  if (block.feed_forward().mixture()) compress_experts(index, block, samples.x_ND);
  for_each_rows(samples.x_ND, [&](Tensor rows) {
    rows.copy_(block.finish(rows.unsqueeze(0), {}, pass_).x_BTD.squeeze(0));
  });
}

void Compressor::run(const std::vector<std::vector<text::TokenId>>& tokens) {
  Samples samples(model_, tokens, pass_);
  report_.calibration_tokens = samples.x_ND.size(0);
  log::Progress progress("compressing", model_.layers(), "blocks");
  for (std::int64_t i = 0; i < model_.layers(); ++i) {
    stop_if_interrupted();
    compress_block(i, samples);
    progress.update(i + 1);
  }
  progress.finish();
  report_.expert_bits_per_weight = static_cast<double>(bits_) / static_cast<double>(weights_);
  report_.entropy_bits_per_weight = entropy_bits_ / static_cast<double>(weights_);
  report_.zeros = static_cast<double>(zeros_) / static_cast<double>(weights_);
}

std::string validation_name(const CompressOptions& options, const std::string& calibration) {
  if (!options.validation.empty()) return options.validation;
  const std::size_t colon = calibration.rfind(":train");
  return colon != std::string::npos && colon + 6 == calibration.size()
             ? calibration.substr(0, colon) + ":valid"
             : "";
}

// What the result depends on beside samples and seed, as the command line spells it.
std::string options_text(const CompressOptions& options) {
  const MethodOptions& m = options.rounding;
  std::string text = concat("--damping ", m.damping);
  if (m.act_order) text += " --act-order";
  if (m.search_clip) text += " --search-clip";
  if (options.true_sequential) text += " --true-sequential";
  if (options.match_outputs) text += " --match-outputs";
  return text;
}

}  // namespace

CompressReport compress(const fs::path& source, const fs::path& target,
                        const CompressOptions& options, const model::Pass& pass) {
  const torch::NoGradGuard no_grad;
  const Stopwatch stopwatch;
  check_folder_is_free(target);
  const model::SavedConfig saved = model::load_config(source);
  if (saved.quantization)
    throw Error(ErrorKind::unsupported,
                concat(source.string(), ": is compressed already (", saved.quantization->bits,
                       "); compress the model it was made from"))
        .in(source.string());
  if (saved.model.feed_forward.kind == model::FeedForwardKind::dense)
    throw Error(
        ErrorKind::unsupported,
        concat(source.string(), ": feed_forward.kind is dense; only experts are compressed yet"))
        .in(source.string())
        .at("feed_forward.kind");
  const auto model = model::load_model(source, *pass.run.executor);
  const auto tokenizer = text::load_tokenizer(source);
  const std::string calibration = options.calibration.empty() ? "gcide:train" : options.calibration;
  const bool wants_text = options.method != MethodKind::rtn;
  SampleOptions sampling;
  sampling.samples = options.samples;
  sampling.seed = options.seed;
  if (saved.model.attention.kind == model::AttentionKind::absolute)
    sampling.length = std::max<std::int64_t>(1, saved.model.context - 1);
  std::vector<std::vector<text::TokenId>> samples;
  if (wants_text) samples = draw_samples(*text::open_corpus(calibration), *tokenizer, sampling);

  std::vector<std::vector<text::TokenId>> validation;
  if (const std::string name = validation_name(options, calibration); !name.empty())
    validation =
        model::encode_documents(*tokenizer, *text::open_corpus(name, options.validation_bytes));
  const auto loss = [&] {
    model::CorpusLossOptions stop;
    stop.progress = [](std::int64_t) { stop_if_interrupted(); };
    return model::token_loss(*model, validation, pass, stop).mean();
  };
  const double loss_before = validation.empty() ? 0 : loss();

  Compressor compressor(*model, options, pass);
  compressor.run(samples);
  CompressReport report = compressor.report();
  report.validated = !validation.empty();
  report.loss_before = loss_before;
  if (report.validated) report.loss_after = loss();

  checkpoint::Quantization q;
  q.bits = enum_name(options.rounding.bits);
  q.method = enum_name(options.method);
  q.made_from = {checkpoint::xxh64_of_file(source / "model.safetensors"),
                 wants_text ? options_text(options) : "",
                 wants_text ? calibration : "",
                 static_cast<std::int64_t>(samples.size()),
                 report.calibration_tokens,
                 static_cast<std::int64_t>(options.seed),
                 report.expert_bits_per_weight,
                 report.loss_before,
                 report.loss_after};
  StagedFolder staged(target);
  model::save_model(*model, staged.path(), q);
  model::save_tokenizer(*tokenizer, staged.path());
  report.bytes_before = fs::file_size(source / "model.safetensors");
  report.bytes_after = fs::file_size(staged.path() / "model.safetensors");
  staged.commit();
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace mote::compress
