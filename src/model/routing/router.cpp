#include "model/routing/router.h"

#include <cmath>
#include <limits>

#include "base/check.h"
#include "model/layers/sites.h"
#include "model/ops/dropout.h"
#include "model/ops/noise.h"
#include "model/routing/balance.h"
#include "model/routing/gates.h"

namespace mote::model {
namespace {

using checkpoint::Scope;

// Tokens that are counted together.
std::int64_t group_of(Scope over, std::int64_t tokens, const ForwardState& state) {
  return over == Scope::sequence && state.ids_BT.defined() ? state.ids_BT.size(1) : tokens;
}

}  // namespace

Tensor Router::jittered(const Tensor& x_ND, const Pass& pass) const {
  const auto* jitter = config_.noise.get_if<checkpoint::JitterNoise>();
  if (!pass.train || !jitter) return x_ND;
  const Tensor u_ND = ops::uniform_numbers(
      x_ND.size(0), x_ND.size(1),
      pass.rng(Purpose::router_noise, site(place_.index, Site::experts)), pass);
  return x_ND * (1 + jitter->epsilon * (2 * u_ND - 1));
}

// Standard deviation of what is added to scores; undefined: nothing is.
Tensor Router::noise_std(const Tensor& x_ND, const Tensor& scores_NE, const Pass& pass) const {
  if (!pass.train) return {};
  if (const auto* normal = config_.noise.get_if<checkpoint::NormalNoise>())
    return torch::full(scores_NE.sizes(), normal->std);
  if (config_.noise.get_if<checkpoint::LearnedNoise>())
    return torch::softplus(noise_.forward(x_ND, pass));
  return {};
}

// 1 and 0: whether a token sees an expert; undefined: all are seen.
Tensor Router::hidden_experts(const Tensor& scores_NE, const Pass& pass) const {
  if (!pass.train || config_.expert_dropout == 0) return {};
  return ops::bernoulli_mask(scores_NE.size(0), experts_, config_.expert_dropout,
                             pass.rng(Purpose::expert_dropout, site(place_.index, Site::experts)),
                             pass);
}

// What experts of a token are ranked by.
Tensor Router::compared(const Tensor& scores_NE) const {
  if (!config_.selection_bias && !config_.select.get_if<checkpoint::GroupedTop>()) return scores_NE;
  const Tensor gate_NE = gates_of_all(config_.gate, scores_NE.detach());
  return selection_bias_E_.defined() ? gate_NE + selection_bias_E_ : gate_NE;
}

Selection Router::selected(const Tensor& ranked_NE, const Tensor& keep_NE,
                           const ForwardState& state) const {
  const Pass& pass = state.pass;
  const std::int64_t tokens = ranked_NE.size(0), k = config_.experts_per_token;
  const auto seen = [&](const Tensor& scores_NE) {
    return keep_NE.defined() ? scores_NE.detach().masked_fill(
                                   keep_NE == 0, -std::numeric_limits<float>::infinity())
                             : scores_NE;
  };
  if (const auto* choice = config_.select.get_if<checkpoint::ExpertChoice>();
      choice && (pass.train || choice->elsewhere == checkpoint::ChoiceElsewhere::same)) {
    // Experts compare tokens by their gates, whose scales differ from token to token.
    const Tensor scores_NE = config_.gate == checkpoint::Gate::softmax_before
                                 ? torch::log_softmax(ranked_NE.detach(), -1)
                             : config_.gate == checkpoint::Gate::sparsemax
                                 ? sparsemax(ranked_NE.detach())
                                 : ranked_NE;
    return select_by_experts(seen(scores_NE), k, group_of(choice->over, tokens, state), pass);
  }
  if (const auto* grouped = config_.select.get_if<checkpoint::GroupedTop>(); grouped && tokens > 0)
    return select_grouped(seen(ranked_NE), *grouped, k, pass);
  if (!pass.train || tokens == 0) return select_topk(seen(ranked_NE), k, pass);
  if (config_.select.get_if<checkpoint::BaseSelect>()) return select_base(seen(ranked_NE), pass);
  if (const auto* balanced = config_.select.get_if<checkpoint::SinkhornSelect>()) {
    const std::int64_t group = group_of(balanced->over, tokens, state);
    const Tensor log_BTE = sinkhorn(ranked_NE.detach().view({-1, group, experts_}),
                                    balanced->iterations, balanced->form);
    return select_topk(seen(log_BTE.view({tokens, experts_}).to(torch::kFloat32)), k, pass);
  }
  return select_topk(seen(ranked_NE), k, pass);
}

ops::Assignment Router::within_capacity(const Selection& selected, const Tensor& gate_R,
                                        const ForwardState& state) const {
  const ops::Assignment all{experts_, selected.first_N1, selected.expert_R, gate_R};
  const auto* factor = config_.capacity.get_if<checkpoint::CapacityFactor>();
  const auto* count = config_.capacity.get_if<checkpoint::CapacityCount>();
  if (!factor && !count) return all;
  if (!state.pass.train && !(factor ? factor->elsewhere : count->elsewhere)) return all;
  const std::int64_t tokens = selected.tokens(), k = selected.per_token;
  if (tokens == 0) return all;
  const std::int64_t group = group_of(factor ? factor->over : count->over, tokens, state);
  const std::int64_t most =
      count ? count->count
            : std::max<std::int64_t>(
                  1, static_cast<std::int64_t>(factor->factor * static_cast<double>(group * k) /
                                               static_cast<double>(experts_)));
  const std::vector<std::int64_t> rows = rows_within(selected, experts_, most, group);
  if (static_cast<std::int64_t>(rows.size()) == all.rows()) return all;
  std::vector<std::int32_t> first(static_cast<std::size_t>(tokens + 1));
  for (const std::int64_t r : rows) ++first[static_cast<std::size_t>(r / k + 1)];
  for (std::size_t n = 1; n < first.size(); ++n) first[n] += first[n - 1];
  const Tensor row_R = torch::tensor(rows, torch::kInt64);
  return {experts_, torch::tensor(first, torch::kInt32), all.expert_R.index_select(0, row_R),
          gate_R.index_select(0, row_R)};
}

ops::Assignment Router::route(const Tensor& x_ND, const MatrixBank& bank,
                              ForwardState& state) const {
  const Pass& pass = state.pass;
  if (const auto* hash = config_.score.get_if<checkpoint::HashScore>()) {
    MOTE_CHECK(state.ids_BT.defined() && state.ids_BT.numel() == x_ND.size(0), name_,
               ": a hash router of ", x_ND.size(0), " rows needs as many token ids");
    const Selection chosen = select_by_hash(
        state.ids_BT.reshape(-1), *hash, config_.experts_per_token, experts_, place_.index, pass);
    return within_capacity(chosen, torch::ones({chosen.expert_R.size(0)}), state);
  }
  // Scores are float32 whatever the precision of the other products.
  Pass exact = pass;
  exact.precision = kernels::Precision::f32;
  const Tensor scores_NE = scorer_->score(jittered(x_ND, pass), bank, exact, state);
  const Tensor std_NE = noise_std(x_ND, scores_NE, exact);
  const Tensor noisy_NE =
      std_NE.defined()
          ? scores_NE + std_NE * ops::normal_numbers(scores_NE.size(0), experts_,
                                                     pass.rng(Purpose::router_noise,
                                                              site(place_.index, Site::experts)),
                                                     pass)
          : scores_NE;
  const Tensor keep_NE = hidden_experts(scores_NE, pass);
  const Selection chosen = selected(compared(noisy_NE), keep_NE, state);
  const Tensor gate_R = gates(config_, noisy_NE, keep_NE, chosen, pass);
  const ops::Assignment assignment = within_capacity(chosen, gate_R, state);
  const std::int64_t tokens = scores_NE.size(0);
  if (pass.train && (config_.entropy_weight > 0 || !config_.balance.empty()) && tokens > 0)
    state.routing.push_back(
        routing_statistics(name_, config_,
                           {scores_NE, noisy_NE, std_NE, chosen, gate_R, assignment,
                            group_of(Scope::sequence, tokens, state)},
                           pass));
  return assignment;
}

void Router::visit(const std::string& name, const MatrixBank& bank, ParameterVisitor& visitor) {
  name_ = name;
  if (scorer_) scorer_->visit(name, bank, visitor);
  if (config_.noise.get_if<checkpoint::LearnedNoise>())
    noise_.visit(matrix(name + ".noise.weight", {experts_, place_.dim}, {}), visitor);
  if (config_.selection_bias)
    visitor.tensor({name + ".selection_bias", {experts_}, {}, Role::buffer, false},
                   selection_bias_E_);
}

}  // namespace mote::model
