#include "model/language_model.h"

#include <cmath>

#include "base/check.h"
#include "model/layers/sites.h"
#include "model/ops/dropout.h"

namespace mote::model {

LanguageModel::LanguageModel(const ModelConfig& config) : config_(config), norm_(config.dim) {
  validate(config_, {"config", ""});
  for (std::int64_t i = 0; i < config_.layers; ++i)
    blocks_.push_back(std::make_unique<TransformerBlock>(config_, i));
}

Tensor LanguageModel::embed(const Tensor& ids_BT, std::int64_t first_position,
                            const Pass& pass) const {
  Tensor x_BTD = torch::embedding(embedding_VD_, ids_BT);
  if (positions_TD_.defined()) {
    const std::int64_t end = first_position + ids_BT.size(1);
    MOTE_CHECK(end <= config_.context, "a model with absolute positions was trained on ",
               config_.context, " tokens at a time; ", end, " were given");
    x_BTD = x_BTD + positions_TD_.narrow(0, first_position, ids_BT.size(1));
  }
  return ops::dropout(x_BTD, config_.dropout, kEmbeddingSite, pass);
}

TrainingLoss LanguageModel::loss(const Tensor& ids_BT, const Tensor& targets_BT, Memory& memory,
                                 const Pass& pass) const {
  TrainingLoss result;
  Tensor x_BTD = embed(ids_BT, 0, pass), penalty, router_state;
  std::vector<Tensor> entered;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Tensor past_BMD = memory.layers_BMD.empty() ? Tensor() : memory.layers_BMD[i];
    const std::int64_t keep = config_.attention.memory_blocks * config_.context;
    if (keep > 0) {
      const Tensor now = x_BTD.detach();
      const Tensor all =
          past_BMD.defined() && keep > now.size(1) ? torch::cat({past_BMD, now}, 1) : now;
      entered.push_back(all.size(1) > keep ? all.narrow(1, all.size(1) - keep, keep) : all);
    }
    BlockResult out = blocks_[i]->forward(x_BTD, past_BMD, router_state, pass);
    x_BTD = out.x_BTD;
    router_state = out.router_state;
    if (out.penalty.defined()) penalty = penalty.defined() ? penalty + out.penalty : out.penalty;
    if (out.usage) result.usage.push_back(std::move(*out.usage));
  }
  memory.layers_BMD = std::move(entered);
  const Tensor h_ND = ops::dropout(norm_.forward(x_BTD, pass), config_.dropout, kHeadSite, pass)
                          .view({-1, config_.dim});
  result.token_mean =
      ops::head_loss(h_ND, head_->parameter(), head_bias_V_, targets_BT.reshape({-1}), pass).mean;
  result.total = penalty.defined() ? result.token_mean + penalty : result.token_mean;
  return result;
}

Tensor LanguageModel::hidden(const Tensor& ids_BT, Cache& cache, const Pass& pass) const {
  Tensor x_BTD = embed(ids_BT, cache.position(), pass), router_state;
  for (const auto& block : blocks_) {
    BlockResult out = block->forward(x_BTD, cache, router_state, pass);
    x_BTD = out.x_BTD;
    router_state = out.router_state;
  }
  cache.advance(ids_BT.size(1));
  return norm_.forward(x_BTD, pass);
}

Tensor LanguageModel::logits(const Tensor& hidden, const Pass& pass) const {
  return head_->multiply(hidden, nullptr, head_bias_V_, pass);
}

Tensor LanguageModel::token_losses(const Tensor& hidden_BTD, const Tensor& targets_BT,
                                   const Pass& pass) const {
  return ops::head_loss(hidden_BTD.reshape({-1, config_.dim}), head_->to_dense(), head_bias_V_,
                        targets_BT.reshape({-1}), pass)
      .each_N;
}

Cache LanguageModel::make_cache() const {
  return make_cache(config_.attention.eval_memory_blocks * config_.context);
}

Cache LanguageModel::make_cache(std::int64_t memory_tokens) const {
  if (config_.attention.kind == AttentionKind::absolute) return Cache(config_.layers, 0, 0);
  return Cache(config_.layers, config_.context, memory_tokens);
}

void LanguageModel::visit_block(std::int64_t i, ParameterVisitor& visitor) {
  block(i).visit("blocks." + std::to_string(i), visitor);
}

void LanguageModel::visit(ParameterVisitor& visitor) {
  const std::int64_t v = config_.vocab_size, d = config_.dim;
  const double embedding_bound = std::sqrt(6.0 / static_cast<double>(v + d));  // Xavier
  const Init head_init{Init::Kind::uniform, 1 / std::sqrt(static_cast<double>(d))};
  visitor.tensor("embedding.weight", embedding_VD_, {v, d}, {Init::Kind::uniform, embedding_bound});
  if (config_.attention.kind == AttentionKind::absolute)
    visitor.tensor("positions.weight", positions_TD_, {config_.context, d},
                   {Init::Kind::normal, 0.02});
  for (std::int64_t i = 0; i < config_.layers; ++i) visit_block(i, visitor);
  norm_.visit("norm", visitor);
  visitor.matrix("head.weight", head_, {1, v, d}, head_init);
  if (config_.head_bias) visitor.tensor("head.bias", head_bias_V_, {v}, head_init);
}

namespace {

class Initializer final : public ParameterVisitor {
 public:
  explicit Initializer(std::uint64_t seed) : seed_(seed) {}
  void matrix(const std::string& name, WeightPtr& weight, const WeightShape& s,
              const Init& init) override {
    const std::vector<std::int64_t> shape =
        s.stacked ? std::vector{s.experts, s.out, s.in} : std::vector{s.out, s.in};
    weight = make_dense_weight(initial_values(shape, init, name, seed_).requires_grad_());
  }
  void tensor(const std::string& name, Tensor& value, const std::vector<std::int64_t>& shape,
              const Init& init) override {
    value = initial_values(shape, init, name, seed_).requires_grad_();
  }

 private:
  std::uint64_t seed_;
};

class Collector final : public ParameterVisitor {
 public:
  std::vector<std::pair<std::string, Tensor>> found;
  void matrix(const std::string& name, WeightPtr& weight, const WeightShape&,
              const Init&) override {
    if (weight->storage() != "f32")
      throw Error(ErrorKind::unsupported,
                  concat("'", name, "' is stored as ", weight->storage(),
                         ", which has no gradient; train the model it was made from"))
          .at(name);
    found.emplace_back(name, weight->parameter());
  }
  void tensor(const std::string& name, Tensor& value, const std::vector<std::int64_t>&,
              const Init&) override {
    found.emplace_back(name, value);
  }
};

}  // namespace

void initialize(LanguageModel& model, std::uint64_t seed) {
  Initializer initializer(seed);
  model.visit(initializer);
}

std::vector<std::pair<std::string, Tensor>> trainable_parameters(LanguageModel& model) {
  Collector collector;
  model.visit(collector);
  return collector.found;
}

}  // namespace mote::model
