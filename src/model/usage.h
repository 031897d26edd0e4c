// What layers of experts are used for, counted over all passes that it watches (specs/sparse-ffn.md
// 6; specs/peer.md 1.3).
//
//   count_e    rows that experts got                      weight_e   sums of |gate|
//   z          weight / sum weight
//   usage      share of experts with z_e > 0              dead       share with count_e = 0
//   unevenness KL(z || uniform) = ln E + sum_e z_e ln z_e, in nats
//   perplexity exp(entropy of count / sum count) / E      1: all are used alike
//   together   tokens that use both i and j, for at most kMostTogether experts
//   overlap    mean over tokens of |S_l and S_(l-1)| / |S_l|, S_l the experts of a token in layer l;
//              where the layer of experts before this one has as many
//   active     hidden units above 0 (dense layers, mixtures); rows with a gate above 0 (lookup layers)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/observer.h"

namespace mote::model {

// Mean and standard deviation of numbers, one a token.
struct Spread {
  double sum = 0, squares = 0;
  std::int64_t tokens = 0;

  void add(const Tensor& number_N);
  double mean() const;
  double deviation() const;
};

struct LayerUsage {
  static constexpr std::int64_t kMostTogether = 256;

  std::string layer;
  std::int64_t experts = 0;  // 0: a layer without
  std::int64_t tokens = 0, rows = 0;
  std::vector<std::int64_t> count_E, together_EE;
  std::vector<double> weight_E;
  double overlap_sum = 0;
  std::int64_t overlap_tokens = 0;
  Spread hidden, gated;  // units above 0; rows with a gate above 0

  double usage() const;
  double unevenness() const;
  double perplexity() const;
  double dead() const;
  std::optional<double> overlap() const;
  const Spread& active() const { return hidden.tokens > 0 ? hidden : gated; }
};

// exp(entropy of the shares) / experts; 0 where nothing was counted.
double relative_perplexity(const std::vector<std::int64_t>& count_E);
double usage_of(const std::vector<double>& weight_E);
double unevenness_of(const std::vector<double>& weight_E);

class UsageCount final : public Observer {
 public:
  // `channels`: hidden units are counted too, for which fused layers have to make them.
  explicit UsageCount(bool channels) : channels_(channels) {}
  bool wants(const std::string& name) const override;
  void saw(const std::string& name, const Tensor& x, const ops::StackRows& rows) override;
  void routed(const std::string& name, const ops::Assignment& assignment) override;

  // In the order of the layers.
  const std::vector<LayerUsage>& layers() const { return layers_; }
  void reset() { layers_.clear(), sets_ = {}; }

 private:
  // Of every token of a layer the experts it uses, each once, rising.
  struct Sets {
    std::size_t layer = 0;
    std::vector<std::int64_t> first_N1;
    std::vector<std::int32_t> expert;
  };
  std::size_t number_of(const std::string& layer);
  static Sets sets_of(const ops::Assignment& assignment);
  void compare(const Sets& now, LayerUsage& usage) const;

  const bool channels_;
  std::vector<LayerUsage> layers_;
  Sets sets_;  // of the layer routed last
};

}  // namespace mote::model
