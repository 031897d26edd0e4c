// A model that reads a source and writes a target (T5, arXiv 1910.10683; specs/checkpoints 2.3): an
// encoder in which every position sees all others, and a language model whose blocks attend to what the
// encoder made. Both embed with one matrix.
#pragma once

#include "model/language_model.h"

namespace mote::model {

class EncoderDecoder final : public Model {
 public:
  explicit EncoderDecoder(const ModelConfig& config);

  const ModelConfig& config() const override { return decoder_.config(); }
  std::vector<Stack*> stacks() override { return {&encoder_, decoder_.stacks().front()}; }
  void visit(ParameterVisitor& visitor) override;
  void read_source(const Source& source, ForwardState& state) const override;
  // Of the decoder.
  Tensor embed(const Tensor& ids_BT, ForwardState& state) const override;
  Tensor hidden(const Tensor& ids_BT, ForwardState& state) const override;
  Tensor logits(const Tensor& hidden, const Pass& pass) const override;
  Tensor token_losses(const Tensor& hidden_BTD, const Tensor& targets_BT,
                      const Pass& pass) const override;
  // `memory` is left as it is.
  TrainingLoss loss(const TrainingBatch& batch, Memory& memory, const Pass& pass) const override;
  Cache make_cache(std::int64_t memory_tokens = -1) const override;

  // Tokens as they enter the encoder's first block, and its output, normed.
  Tensor embed_source(const Tensor& ids_BS, ForwardState& state) const;
  Tensor encode(const Source& source, ForwardState& state) const;

 private:
  LanguageModel decoder_;
  Stack encoder_;
};

}  // namespace mote::model
