#include "model/usage.h"

#include <ATen/ops/diff.h>
#include <algorithm>
#include <cmath>
#include <iterator>

namespace mote::model {
namespace {

// What the hidden units of a layer enter: "LAYER.down.weight" of dense layers, "LAYER.experts.down"
// of mixtures. Empty for other names.
std::string layer_of_hidden(const std::string& name) {
  for (const std::string end : {".down.weight", ".experts.down"})
    if (name.ends_with(".feed_forward" + end)) return name.substr(0, name.size() - end.size());
  return "";
}

double sum_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double each : x) sum += each;
  return sum;
}

}  // namespace

double relative_perplexity(const std::vector<std::int64_t>& count_E) {
  double sum = 0, entropy = 0;
  for (const std::int64_t count : count_E) sum += static_cast<double>(count);
  if (sum == 0) return 0;
  for (const std::int64_t count : count_E) {
    const double share = static_cast<double>(count) / sum;
    if (share > 0) entropy -= share * std::log(share);
  }
  return std::exp(entropy) / static_cast<double>(count_E.size());
}

double usage_of(const std::vector<double>& weight_E) {
  const auto used = std::count_if(weight_E.begin(), weight_E.end(), [](double w) { return w > 0; });
  return weight_E.empty() ? 0 : static_cast<double>(used) / static_cast<double>(weight_E.size());
}

double unevenness_of(const std::vector<double>& weight_E) {
  const double sum = sum_of(weight_E);
  if (sum == 0) return 0;
  double divergence = std::log(static_cast<double>(weight_E.size()));
  for (const double w : weight_E)
    if (w > 0) divergence += w / sum * std::log(w / sum);
  return std::max(0.0, divergence);
}

void Spread::add(const Tensor& number_N) {
  const Tensor x = number_N.to(torch::kFloat64);
  sum += x.sum().item<double>();
  squares += x.square().sum().item<double>();
  tokens += x.numel();
}
double Spread::mean() const {
  return tokens == 0 ? 0 : sum / static_cast<double>(tokens);
}
double Spread::deviation() const {
  if (tokens == 0) return 0;
  return std::sqrt(std::max(0.0, squares / static_cast<double>(tokens) - mean() * mean()));
}

double LayerUsage::usage() const {
  return usage_of(weight_E);
}
double LayerUsage::unevenness() const {
  return unevenness_of(weight_E);
}
double LayerUsage::perplexity() const {
  return relative_perplexity(count_E);
}
double LayerUsage::dead() const {
  const auto dead = std::count(count_E.begin(), count_E.end(), 0);
  return count_E.empty() ? 0 : static_cast<double>(dead) / static_cast<double>(count_E.size());
}
std::optional<double> LayerUsage::overlap() const {
  if (overlap_tokens == 0) return std::nullopt;
  return overlap_sum / static_cast<double>(overlap_tokens);
}
std::size_t UsageCount::number_of(const std::string& layer) {
  const auto found = std::find_if(layers_.begin(), layers_.end(),
                                  [&](const LayerUsage& each) { return each.layer == layer; });
  if (found != layers_.end()) return static_cast<std::size_t>(found - layers_.begin());
  layers_.emplace_back().layer = layer;
  return layers_.size() - 1;
}

bool UsageCount::wants(const std::string& name) const {
  return channels_ && !layer_of_hidden(name).empty();
}

void UsageCount::saw(const std::string& name, const Tensor& x, const ops::StackRows& rows) {
  const torch::NoGradGuard no_grad;
  LayerUsage& usage = layers_[number_of(layer_of_hidden(name))];
  const Tensor above = (x.detach().view({-1, x.size(-1)}) > 0).sum(1);
  if (!rows.routes) return usage.hidden.add(above);
  // Rows in sorted order, each of one token.
  usage.hidden.add(torch::zeros({rows.routes->tokens()}, torch::kInt64)
                       .index_add_(0, rows.routes->token_R.to(torch::kInt64), above));
}

UsageCount::Sets UsageCount::sets_of(const ops::Assignment& assignment) {
  const auto* first = assignment.first_N1.const_data_ptr<std::int32_t>();
  const auto* expert = assignment.expert_R.const_data_ptr<std::int32_t>();
  Sets sets;
  sets.first_N1 = {0};
  for (std::int64_t n = 0; n < assignment.tokens(); ++n) {
    const auto begin = static_cast<std::ptrdiff_t>(sets.expert.size());
    sets.expert.insert(sets.expert.end(), expert + first[n], expert + first[n + 1]);
    std::sort(sets.expert.begin() + begin, sets.expert.end());
    sets.expert.erase(std::unique(sets.expert.begin() + begin, sets.expert.end()),
                      sets.expert.end());
    sets.first_N1.push_back(static_cast<std::int64_t>(sets.expert.size()));
  }
  return sets;
}

void UsageCount::compare(const Sets& now, LayerUsage& usage) const {
  if (now.first_N1.size() != sets_.first_N1.size() || sets_.layer >= now.layer ||
      layers_[sets_.layer].experts != usage.experts)
    return;
  for (std::size_t n = 0; n + 1 < now.first_N1.size(); ++n) {
    const auto part = [n](const Sets& sets) {
      return std::pair{sets.expert.begin() + sets.first_N1[n],
                       sets.expert.begin() + sets.first_N1[n + 1]};
    };
    const auto [a, a_end] = part(now);
    const auto [b, b_end] = part(sets_);
    if (a == a_end) continue;
    std::vector<std::int32_t> both;
    std::set_intersection(a, a_end, b, b_end, std::back_inserter(both));
    usage.overlap_sum += static_cast<double>(both.size()) / static_cast<double>(a_end - a);
    ++usage.overlap_tokens;
  }
}

void UsageCount::routed(const std::string& name, const ops::Assignment& assignment) {
  const std::size_t number = number_of(name);
  LayerUsage& usage = layers_[number];
  const auto experts = static_cast<std::size_t>(assignment.num_experts);
  const bool together = channels_ && assignment.num_experts <= LayerUsage::kMostTogether;
  usage.experts = assignment.num_experts;
  usage.count_E.resize(experts);
  usage.weight_E.resize(experts);
  if (together) usage.together_EE.resize(experts * experts);
  const Tensor gate_R = assignment.gate_R.detach().contiguous();
  const auto* expert = assignment.expert_R.const_data_ptr<std::int32_t>();
  const auto* gate = gate_R.const_data_ptr<float>();
  for (std::int64_t r = 0; r < assignment.rows(); ++r) {
    const auto e = static_cast<std::size_t>(expert[r]);
    ++usage.count_E.at(e);
    usage.weight_E[e] += static_cast<double>(std::abs(gate[r]));
  }
  usage.tokens += assignment.tokens();
  usage.rows += assignment.rows();
  if (!channels_) return;

  const Tensor first = assignment.first_N1.to(torch::kInt64);
  usage.gated.add(torch::cat({torch::zeros({1}, torch::kInt64), (gate_R > 0).cumsum(0)})
                      .index_select(0, first)
                      .diff());
  Sets sets = sets_of(assignment);
  sets.layer = number;
  if (together)
    for (std::size_t n = 0; n + 1 < sets.first_N1.size(); ++n)
      for (auto i = sets.first_N1[n]; i < sets.first_N1[n + 1]; ++i)
        for (auto j = sets.first_N1[n]; j < sets.first_N1[n + 1]; ++j)
          ++usage.together_EE[static_cast<std::size_t>(sets.expert[static_cast<std::size_t>(i)]) *
                                  experts +
                              static_cast<std::size_t>(sets.expert[static_cast<std::size_t>(j)])];
  compare(sets, usage);
  sets_ = std::move(sets);
}

}  // namespace mote::model
