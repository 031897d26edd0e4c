#include "model/stack.h"

#include "model/observer.h"

namespace mote::model {

Stack::Stack(const ModelConfig& config) : norm_(config.norms, config.dim) {
  if (const std::int64_t state_dim = checkpoint::router_state_dim(config); state_dim > 0)
    router_cell_ = std::make_unique<RouterCell>(state_dim);
  for (std::int64_t i = 0; i < config.layers; ++i)
    blocks_.push_back(
        std::make_unique<TransformerBlock>(checkpoint::layer_config(config, i),
                                           LayerPlace{i, config.layers, config.dim, config.context,
                                                      router_cell_.get(), &rotary_tables_}));
}

Tensor Stack::forward(Tensor x_BTD, ForwardState& state) const {
  for (const auto& block : blocks_) x_BTD = block->forward(x_BTD, state);
  if (state.cache) state.cache->advance(x_BTD.size(1));
  return norm_.forward(x_BTD, state.pass);
}

void Stack::visit_block(std::int64_t i, ParameterVisitor& visitor) {
  blocks_[static_cast<std::size_t>(i)]->visit("blocks." + std::to_string(i), visitor);
}

void Stack::visit(ParameterVisitor& visitor) {
  if (router_cell_) router_cell_->visit("router_cell", visitor);
  for (std::int64_t i = 0; i < size(); ++i) visit_block(i, visitor);
  norm_.visit("norm", visitor);
}

Cache Stack::make_cache(std::int64_t memory) const {
  std::vector<Cache::Sight> layers;
  for (const auto& block : blocks_) layers.push_back(block->sight(memory));
  return Cache(layers);
}

}  // namespace mote::model
