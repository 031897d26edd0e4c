#include "compress/block_compressor.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "base/process.h"

namespace mote::compress {

Samples::Samples(const std::vector<SampleText>& texts, Side side, std::int64_t dim,
                 const Embed& embed) {
  const bool sources = side == Side::source;
  const auto ids_of = [sources](const SampleText& text) -> const std::vector<text::TokenId>& {
    return sources ? text.source : text.ids;
  };
  std::int64_t rows = 0;
  for (const SampleText& text : texts) rows += static_cast<std::int64_t>(ids_of(text).size());
  x_ND_ = torch::empty({rows, dim}, torch::kFloat32);
  std::int64_t first = 0;
  for (const SampleText& text : texts) {
    const Tensor ids =
        torch::tensor(at::ArrayRef<text::TokenId>(ids_of(text)), torch::kInt64).unsqueeze(0);
    samples_.push_back({x_ND_.narrow(0, first, ids.size(1)).unsqueeze(0),
                        ids,
                        {},
                        {},
                        sources ? text.source_counted : text.counted});
    samples_.back().x_1TD.copy_(embed(ids));
    first += ids.size(1);
  }
}

bool Samples::finite() const {
  // One after the other, since the comparison holds copies.
  return std::all_of(samples_.begin(), samples_.end(), [](const Sample& sample) {
    return sample.x_1TD.isfinite().all().item<bool>();
  });
}

BlockCompressor::BlockCompressor(const CompressOptions& options, const model::Pass& pass)
    : options_(options), pass_(pass), method_(make_method(options.method, options.rounding)) {}

void BlockCompressor::watch(const Part& part, Samples& samples, InputMoments& moments) const {
  model::Pass watched = pass_;
  watched.observer = &moments;
  for (const Sample& sample : samples.each()) {
    stop_if_interrupted();
    moments.count(sample.counted);
    part.forward(sample, watched);
  }
}

namespace {

Target& target_named(const std::string& name, std::vector<Target>& targets) {
  return *std::find_if(targets.begin(), targets.end(),
                       [&](const Target& t) { return t.name == name; });
}

void set_weights(const Part& part, const std::vector<Target>& targets) {
  TargetSetter setter(targets);
  part.visit(setter);
}

}  // namespace

void BlockCompressor::round(const Part& part, const std::vector<std::string>& names,
                            const InputMoments& moments, std::vector<Target>& targets,
                            std::vector<Compressed>& done) const {
  for (const std::string& name : names) {
    stop_if_interrupted();
    Target& target = target_named(name, targets);
    MethodResult result = method_->compress(*target.weight, moments.of(name), name, pass_);
    log::debug(concat(name, ": error ", result.error));
    target.weight = result.weight;
    done.push_back({name, std::move(result)});
  }
  set_weights(part, targets);
}

void BlockCompressor::refit(const Part& part, const std::vector<std::string>& names,
                            const InputMoments& moments, const std::vector<Target>& originals,
                            std::vector<Target>& targets, Samples& samples) const {
  std::map<std::string, Moments> original_by_now;
  const auto recorded = [&](const Sample& sample, const std::vector<Target>& weights) {
    InputRecorder recorder({names.begin(), names.end()});
    set_weights(part, weights);
    model::Pass watched = pass_;
    watched.observer = &recorder;
    part.forward(sample, watched);
    return recorder;
  };
  for (const Sample& sample : samples.each()) {
    stop_if_interrupted();
    const InputRecorder before = recorded(sample, originals), now = recorded(sample, targets);
    for (const std::string& name : names) {
      const InputRecorder::Rows &u = before.of(name), &v = now.of(name);
      MOTE_CHECK(
          u.ends_E.equal(v.ends_E), name,
          ": compression has moved rows to other experts, so that there is nothing to refit");
      const std::int64_t width = v.rows_RI.size(1);
      const auto [found, is_new] =
          original_by_now.try_emplace(name, v.ends_E.size(0), width, width,
                                      row_cap(v.how, samples.tokens(), options_.cap_factor));
      found->second.add({u.rows_RI}, {v.rows_RI}, v.ends_E, pass_);
    }
  }
  for (const std::string& name : names) {
    Target& target = target_named(name, targets);
    const Tensor dense = target.weight->to_dense().detach();
    const Tensor w_EOI = dense.dim() == 3 ? dense : dense.unsqueeze(0);
    target.weight =
        model::make_dense_weight(refitted(w_EOI, original_by_now.at(name), moments.of(name),
                                          options_.rounding.damping, pass_)
                                     .view(dense.sizes()));
  }
}

std::vector<BlockCompressor::Compressed> BlockCompressor::compress(const Part& part,
                                                                   const Choice& choice,
                                                                   Samples& samples) const {
  TargetCollector collector(choice);
  part.visit(collector);
  const std::vector<Target>& originals = collector.found;
  std::vector<Target> targets = originals;
  std::vector<Compressed> done;
  std::set<std::string> names;
  for (const Target& t : targets) names.insert(t.name);
  const auto moments_of = [&](const std::set<std::string>& some) {
    InputMoments moments(some, samples.tokens(), options_.cap_factor, pass_);
    if (method_->needs_statistics()) watch(part, samples, moments);
    return moments;
  };
  const bool sequential = options_.true_sequential || options_.match_outputs;
  if (!targets.empty()) {
    const InputMoments first = moments_of(names);
    if (!method_->needs_statistics() || !sequential) {
      std::vector<std::string> all;
      for (const Target& t : originals) all.push_back(t.name);
      round(part, all, first, targets, done);
    } else {
      for (std::size_t g = 0; g < first.groups().size(); ++g) {
        const std::vector<std::string>& group = first.groups()[g];
        if (g == 0) {
          round(part, group, first, targets, done);
          continue;
        }
        const InputMoments now = moments_of({group.begin(), group.end()});
        if (options_.match_outputs) refit(part, group, now, originals, targets, samples);
        round(part, group, now, targets, done);
      }
    }
  }
  for (Sample& sample : samples.each()) {
    stop_if_interrupted();
    const Sample after = part.forward(sample, pass_);
    sample.x_1TD.copy_(after.x_1TD);
    sample.router_state = after.router_state;
  }
  return done;
}

}  // namespace mote::compress
