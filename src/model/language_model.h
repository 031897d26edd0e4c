// The decoder language model (specs/sparse-ffn 3.1): tokens -> embedding -> blocks -> norm -> head.
// THE main path: training, evaluation, generation and compression all go through these blocks.
#pragma once

#include "model/linear.h"
#include "model/model.h"

namespace mote::model {

class LanguageModel final : public Model {
 public:
  explicit LanguageModel(const ModelConfig& config);

  const ModelConfig& config() const override { return config_; }
  std::vector<Stack*> stacks() override { return {&stack_}; }
  void visit(ParameterVisitor& visitor) override;
  Tensor embed(const Tensor& ids_BT, ForwardState& state) const override;
  Tensor hidden(const Tensor& ids_BT, ForwardState& state) const override;
  Tensor logits(const Tensor& hidden, const Pass& pass) const override;
  Tensor token_losses(const Tensor& hidden_BTD, const Tensor& targets_BT,
                      const Pass& pass) const override;
  TrainingLoss loss(const TrainingBatch& batch, Memory& memory, const Pass& pass) const override;
  // The same of a state that an encoder has filled.
  TrainingLoss loss(const TrainingBatch& batch, ForwardState& state) const;
  // Tokens as they enter a stack's first block, dropped out at `site`.
  Tensor embedded(const Tensor& ids_BT, ForwardState& state, std::int64_t site) const;
  const Stack& stack() const { return stack_; }
  Cache make_cache(std::int64_t memory_tokens = -1) const override;

 private:
  // What the output layer multiplies.
  Tensor scaled(const Tensor& hidden) const;

  const ModelConfig config_;
  WeightPtr embedding_;
  Tensor positions_TD_;
  Stack stack_;
  Linear head_;
};

}  // namespace mote::model
