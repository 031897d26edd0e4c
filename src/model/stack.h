// Blocks one after the other and the norm after the last: the loop that training, evaluation,
// generation and compression share.
#pragma once

#include <memory>
#include <vector>

#include "model/block.h"
#include "model/layers/position_bias.h"
#include "model/layers/rotary.h"
#include "model/routing/router_cell.h"

namespace mote::model {

class Stack {
 public:
  // An encoder's (checkpoint::encoder_of) parameters are named encoder.*.
  enum class Side { decoder, encoder };
  explicit Stack(const ModelConfig& config, Side side = Side::decoder);

  // x_BTD: the embedded tokens. The state's cache is moved on after the last block.
  Tensor forward(Tensor x_BTD, ForwardState& state) const;

  std::int64_t size() const { return static_cast<std::int64_t>(blocks_.size()); }
  const TransformerBlock& block(std::int64_t i) const {
    return *blocks_[static_cast<std::size_t>(i)];
  }
  Tensor final_norm(const Tensor& x, const Pass& pass) const { return norm_.forward(x, pass); }
  // One block's parameters, by the names they have in the model: attaching and releasing a block is
  // a visit that sets or clears them.
  void visit_block(std::int64_t i, ParameterVisitor& visitor);
  void visit(ParameterVisitor& visitor);
  Cache make_cache(std::int64_t memory) const;
  // Every block's keys and values of a source, into the cache.
  void remember_source(const Tensor& source_BSD, Cache& cache, const Pass& pass) const;
  // What a block's layers find in the state beside x: of a pass that goes through blocks one by one.
  void prepare(ForwardState& state) const;

 private:
  std::string prefix_;
  RotaryTables rotary_tables_;
  // Shared by all blocks and never released; or null.
  std::unique_ptr<RouterCell> router_cell_;
  std::unique_ptr<PositionBias> position_bias_;
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
  Norm norm_;
};

}  // namespace mote::model
