#include "model/language_model.h"

#include <cassert>
#include <cmath>

#include "base/check.h"
#include "model/buffers.h"
#include "model/layers/sites.h"
#include "model/observer.h"
#include "model/ops/add.h"
#include "model/ops/dropout.h"
#include "model/ops/head_loss.h"

namespace mote::model {
namespace {

const ModelConfig& checked(const ModelConfig& config) {
  checkpoint::validate(config, {"config", ""});
  return config;
}

}  // namespace

LanguageModel::LanguageModel(const ModelConfig& config)
    : config_(checked(config)), stack_(config) {}

Tensor LanguageModel::embed(const Tensor& ids_BT, ForwardState& state) const {
  return embedded(ids_BT, state, kEmbeddingSite);
}

Tensor LanguageModel::embedded(const Tensor& ids_BT, ForwardState& state, std::int64_t site) const {
  state.ids_BT = ids_BT;
  Tensor x_BTD = ops::embedding(embedding_, ids_BT, state.pass);
  if (config_.embedding_scale != 1) x_BTD = x_BTD * static_cast<float>(config_.embedding_scale);
  if (positions_TD_.defined()) {
    const auto placed = [&](const Tensor& x, std::int64_t first) {
      const std::int64_t end = first + ids_BT.size(1);
      MOTE_CHECK(end <= config_.context, "a model with learned positions was trained on ",
                 config_.context, " tokens at a time; ", end, " were given");
      return ops::add_rows(x, positions_TD_, first, state.pass);
    };
    x_BTD =
        state.caches.empty()
            ? placed(x_BTD, 0)
            : for_each_cache(state, x_BTD.size(0),
                             [&](Cache& cache, std::int64_t first, std::int64_t count) {
                               return placed(of_sequences(x_BTD, first, count), cache.position());
                             });
  }
  return ops::dropout(x_BTD, config_.dropout, site, state.pass);
}

Tensor LanguageModel::hidden(const Tensor& ids_BT, ForwardState& state) const {
  if (state.pass.buffers) {
    assert(!torch::GradMode::is_enabled());
    state.pass.buffers->begin_pass(ids_BT.numel());
  }
  return stack_.forward(embed(ids_BT, state), state);
}

Tensor LanguageModel::scaled(const Tensor& hidden) const {
  return config_.head.scale == 1 ? hidden : hidden * config_.head.scale;
}

Tensor LanguageModel::logits(const Tensor& hidden, const Pass& pass) const {
  return head_.forward(scaled(hidden), pass);
}

Tensor LanguageModel::token_losses(const Tensor& hidden_BTD, const Tensor& targets_BT,
                                   const Pass& pass) const {
  return ops::head_loss(scaled(hidden_BTD.reshape({-1, config_.dim})), head_.weight(), head_.bias(),
                        targets_BT.reshape({-1}), pass)
      .each_N;
}

TrainingLoss LanguageModel::loss(const TrainingBatch& batch, Memory& memory,
                                 const Pass& pass) const {
  ForwardState state(pass);
  state.memory = &memory;
  return loss(batch, state);
}

TrainingLoss LanguageModel::loss(const TrainingBatch& batch, ForwardState& state) const {
  const Pass& pass = state.pass;
  const Tensor h_ND = ops::dropout(hidden(batch.ids_BT, state), config_.dropout, kHeadSite, pass)
                          .view({-1, config_.dim});
  const Tensor mean = ops::head_loss(scaled(h_ND), head_.weight(), head_.bias(),
                                     batch.targets_BT.reshape({-1}), pass)
                          .mean;
  const Tensor penalty = penalties(state);
  return {penalty.defined() ? mean + penalty : mean, mean, std::move(state.commits)};
}

Cache LanguageModel::make_cache(std::int64_t memory_tokens) const {
  return stack_.make_cache(memory_tokens);
}

void LanguageModel::visit(ParameterVisitor& visitor) {
  const std::int64_t v = config_.vocab_size, d = config_.dim;
  const double embedding_bound = std::sqrt(6.0 / static_cast<double>(v + d));  // Xavier
  const Init head_init{Init::Kind::uniform, 1 / std::sqrt(static_cast<double>(d))};
  visitor.matrix(matrix("embedding.weight", {v, d}, {Init::Kind::uniform, embedding_bound}),
                 embedding_);
  if (config_.positions == checkpoint::Positions::learned)
    visitor.tensor({"positions.weight", {config_.context, d}, {Init::Kind::normal, 0.02}},
                   positions_TD_);
  stack_.visit(visitor);
  if (config_.tied)
    head_.share(embedding_, "embedding.weight");
  else
    head_.visit(matrix("head.weight", {v, d}, head_init), visitor);
  if (config_.head.bias) head_.visit_bias({"head.bias", {v}, head_init}, visitor);
}

}  // namespace mote::model
