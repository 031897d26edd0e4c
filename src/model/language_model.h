// The decoder language model (specs/sparse-ffn 3.1): tokens -> embedding -> blocks -> norm -> head.
// THE main path: training, evaluation, generation and compression all go through these blocks.
#pragma once

#include <memory>
#include <vector>

#include "model/block.h"
#include "model/ops/head_loss.h"

namespace mote::model {

// Transformer-XL's memory in training: the residual stream that entered each block, for the last
// blocks of tokens, without gradient.
struct Memory {
  std::vector<Tensor> layers_BMD;  // empty, or one per block
  void reset() { layers_BMD.clear(); }
};

struct TrainingLoss {
  Tensor total;              // mean token loss + penalties: what backward starts from
  Tensor token_mean;         // nats per token
  std::vector<Usage> usage;  // of every layer with experts
};

class LanguageModel {
 public:
  explicit LanguageModel(const ModelConfig& config);
  const ModelConfig& config() const { return config_; }

  // One training step's forward pass; `memory` is read and moved on by one block.
  TrainingLoss loss(const Tensor& ids_BT, const Tensor& targets_BT, Memory& memory,
                    const Pass& pass) const;

  // New tokens after what the cache holds: the normed last hidden states [B, T, D]. Any number of
  // tokens at a time gives the same.
  Tensor hidden(const Tensor& ids_BT, Cache& cache, const Pass& pass) const;
  Tensor logits(const Tensor& hidden, const Pass& pass) const;
  // Loss of every target given the hidden states, [N].
  Tensor token_losses(const Tensor& hidden_BTD, const Tensor& targets_BT, const Pass& pass) const;
  // `eval_memory_blocks` blocks of memory, or as many tokens as given.
  Cache make_cache() const;
  Cache make_cache(std::int64_t memory_tokens) const;

  // The pieces of the path, for streaming a model block by block.
  Tensor embed(const Tensor& ids_BT, std::int64_t first_position, const Pass& pass) const;
  TransformerBlock& block(std::int64_t i) { return *blocks_[static_cast<std::size_t>(i)]; }
  const TransformerBlock& block(std::int64_t i) const {
    return *blocks_[static_cast<std::size_t>(i)];
  }
  std::int64_t layers() const { return config_.layers; }
  Tensor final_norm(const Tensor& x, const Pass& pass) const { return norm_.forward(x, pass); }

  // Every tensor by name, in the order of the path.
  void visit(ParameterVisitor& visitor);
  void visit_block(std::int64_t i, ParameterVisitor& visitor);

 private:
  const ModelConfig config_;
  Tensor embedding_VD_, positions_TD_, head_bias_V_;
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
  LayerNorm norm_;
  WeightPtr head_;
};

// Fills every tensor with its initial values; all are float32 leaves that require gradients.
void initialize(LanguageModel& model, std::uint64_t seed);

// The trainable tensors by name. Throws when a weight is packed, naming it.
std::vector<std::pair<std::string, Tensor>> trainable_parameters(LanguageModel& model);

}  // namespace mote::model
