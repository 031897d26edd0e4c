// What training, evaluation, compression and running need of a model, whatever its shape.
#pragma once

#include <memory>
#include <vector>

#include "model/forward_state.h"
#include "model/stack.h"

namespace mote::model {

// What an encoder reads: tokens [B, S], of each sequence the first ones.
struct Source {
  Tensor ids_BS;     // int64
  Tensor lengths_B;  // int32; undefined: all of them
};

// Of a training step, [B, T]; targets below 0 do not count. `source`: of encoder-decoders.
struct TrainingBatch {
  Tensor ids_BT, targets_BT;
  Source source = {};
};

struct TrainingLoss {
  Tensor total;       // mean token loss + penalties: what backward starts from
  Tensor token_mean;  // nats per token
  std::vector<std::function<void()>> commits;  // of the ForwardState: for a loss that is finite
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelConfig& config() const = 0;
  // An encoder first.
  virtual std::vector<Stack*> stacks() = 0;
  // Every parameter by name, in the order of the path.
  virtual void visit(ParameterVisitor& visitor) = 0;

  // Tokens [B, T] as they enter the first block. Positions count from the state's cache.
  virtual Tensor embed(const Tensor& ids_BT, ForwardState& state) const = 0;
  // What an encoder makes of the source: into the state's cache, at position 0, else into the state.
  // Refused of a model without an encoder.
  virtual void read_source(const Source& source, ForwardState& state) const;
  // New tokens after what the state's cache or memory holds: the normed last hidden states
  // [B, T, D]. With a cache any number of tokens at a time gives the same.
  virtual Tensor hidden(const Tensor& ids_BT, ForwardState& state) const = 0;
  virtual Tensor logits(const Tensor& hidden, const Pass& pass) const = 0;
  // Loss of every target given the hidden states, [N].
  virtual Tensor token_losses(const Tensor& hidden_BTD, const Tensor& targets_BT,
                              const Pass& pass) const = 0;
  // One training step's forward pass; `memory` is read and moved on by one block.
  virtual TrainingLoss loss(const TrainingBatch& batch, Memory& memory, const Pass& pass) const = 0;
  // `memory_tokens` before the block of each position are seen; < 0: as the config says.
  virtual Cache make_cache(std::int64_t memory_tokens = -1) const = 0;
};

// Of [B, T, D] the last position, [B, 1, D].
Tensor last_position(const Tensor& hidden_BTD);

// Fills every parameter with its initial values; all are float32, but for tables of another type, and
// what is trainable is a leaf that requires gradients.
void initialize(Model& model, std::uint64_t seed, const Executor& executor = serial(),
                torch::ScalarType tables = torch::kFloat32);

// Tables of another type become of this one.
void store_tables_as(Model& model, torch::ScalarType type);

// What is trained, by name. Throws when a weight is packed, naming it.
struct Trainable {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::vector<RowTablePtr> tables;
};
Trainable trainable_parameters(Model& model);

// By the walk over the parameters, of a model that need not have any tensors yet.
struct ParameterCounts {
  std::int64_t total = 0, active = 0, feed_forward = 0, feed_forward_active = 0;
};
ParameterCounts count_parameters(Model& model);
ParameterCounts count_parameters(const ModelConfig& config);

std::unique_ptr<Model> make_model(const ModelConfig& config);

}  // namespace mote::model
