// A mixture's router: scores of every token and expert become an assignment of tokens to experts,
// ragged, which a bank consumes. Each published router is a choice on these axes (docs/papers.md):
//
//   z = score(x)                 routing/scores.h; in training with noise, in or after it
//   selection of z               routing/selection.h; by the K largest outside training
//   gates of the selected        routing/gates.h
//   capacity                     rows beyond an expert's are dropped, after gates were made
//   losses                       routing/balance.h, of raw z
// Unless told otherwise it is sigma-MoE's (specs/sparse-ffn 2.4): z = W3 x, gates sigmoid(z), the K
// largest z; in training each expert is hidden from a token with probability delta, and gamma *
// sum_e p_e ln p_e is added to the loss, p the mean over tokens of softmax(z) of the raw scores. A
// hidden expert ranks last and has gate 0 if it is picked all the same.
#pragma once

#include "model/routing/scores.h"
#include "model/routing/selection.h"

namespace mote::model {

class Router {
 public:
  // `init_scale`: factor of the initial variances.
  Router(const checkpoint::RouterConfig& config, std::int64_t experts, double init_scale,
         const LayerPlace& place)
      : config_(config),
        experts_(experts),
        place_(place),
        scorer_(make_scorer(config.score, experts, init_scale, place)) {}
  // `bank`: that of the experts, whose matrices may be what scores them.
  ops::Assignment route(const Tensor& x_ND, const MatrixBank& bank, ForwardState& state) const;
  void visit(const std::string& name, const MatrixBank& bank, ParameterVisitor& visitor);

 private:
  Tensor jittered(const Tensor& x_ND, const Pass& pass) const;
  Tensor noise_std(const Tensor& x_ND, const Tensor& scores_NE, const Pass& pass) const;
  Tensor compared(const Tensor& scores_NE) const;
  Tensor hidden_experts(const Tensor& scores_NE, const Pass& pass) const;
  Selection selected(const Tensor& ranked_NE, const Tensor& keep_NE,
                     const ForwardState& state) const;
  ops::Assignment within_capacity(const Selection& selected, const Tensor& gate_R,
                                  const ForwardState& state) const;

  const checkpoint::RouterConfig config_;
  const std::int64_t experts_;
  const LayerPlace place_;
  std::unique_ptr<Scorer> scorer_;  // null: by hash
  std::string name_;
  Linear noise_;
  Tensor selection_bias_E_;
};

}  // namespace mote::model
