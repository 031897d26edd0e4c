// Blocks one after the other and the norm after the last: the loop that training, evaluation,
// generation and compression share.
#pragma once

#include <memory>
#include <vector>

#include "model/block.h"
#include "model/layers/rotary.h"
#include "model/routing/router_cell.h"

namespace mote::model {

class Stack {
 public:
  explicit Stack(const ModelConfig& config);

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

 private:
  RotaryTables rotary_tables_;
  std::unique_ptr<RouterCell> router_cell_;  // shared by all blocks and never released; or null
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
  Norm norm_;
};

}  // namespace mote::model
