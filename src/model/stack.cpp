#include "model/stack.h"

#include "model/layers/sites.h"
#include "model/observer.h"

namespace mote::model {

Stack::Stack(const ModelConfig& config, Side side)
    : prefix_(side == Side::encoder ? "encoder." : ""), norm_(config.norms, config.dim) {
  const bool encoder = side == Side::encoder;
  const LayerConfig first = checkpoint::layer_config(config, 0);
  if (const auto* bucketed = first.attention.get_if<checkpoint::Bucketed>())
    position_bias_ = std::make_unique<PositionBias>(*bucketed, config.dim, encoder);
  if (const std::int64_t state_dim = checkpoint::router_state_dim(config); state_dim > 0)
    router_cell_ = std::make_unique<RouterCell>(state_dim);
  for (std::int64_t i = 0; i < config.layers; ++i)
    blocks_.push_back(std::make_unique<TransformerBlock>(
        checkpoint::layer_config(config, i),
        LayerPlace{(encoder ? kEncoderLayers : 0) + i, config.layers, config.dim, config.context,
                   router_cell_.get(), &rotary_tables_, encoder,
                   checkpoint::reads_source(config)}));
}

void Stack::prepare(ForwardState& state) const {
  if (position_bias_) state.position_bias_HD = position_bias_->by_distance();
}

Tensor Stack::forward(Tensor x_BTD, ForwardState& state) const {
  prepare(state);
  for (const auto& block : blocks_) x_BTD = block->forward(x_BTD, state);
  for (Cache* cache : state.caches) cache->advance(x_BTD.size(1));
  return norm_.forward(x_BTD, state.pass);
}

void Stack::visit_block(std::int64_t i, ParameterVisitor& visitor) {
  blocks_[static_cast<std::size_t>(i)]->visit(concat(prefix_, "blocks.", i), visitor);
}

void Stack::visit(ParameterVisitor& visitor) {
  if (router_cell_) router_cell_->visit("router_cell", visitor);
  if (position_bias_) position_bias_->visit(prefix_ + "position_bias", visitor);
  for (std::int64_t i = 0; i < size(); ++i) visit_block(i, visitor);
  norm_.visit(prefix_ + "norm", visitor);
}

void Stack::remember_source(const Tensor& source_BSD, Cache& cache, const Pass& pass) const {
  for (const auto& block : blocks_) block->remember_source(source_BSD, cache, pass);
}

Cache Stack::make_cache(std::int64_t memory) const {
  std::vector<Cache::Sight> layers;
  for (const auto& block : blocks_) layers.push_back(block->sight(memory));
  return Cache(layers);
}

}  // namespace mote::model
