#include "model/encoder_decoder.h"

#include "base/check.h"
#include "model/buffers.h"
#include "model/layers/sites.h"
#include "model/ops/dropout.h"

namespace mote::model {

EncoderDecoder::EncoderDecoder(const ModelConfig& config)
    : decoder_(config), encoder_(checkpoint::encoder_of(config), Stack::Side::encoder) {}

void EncoderDecoder::visit(ParameterVisitor& visitor) {
  decoder_.visit(visitor);
  encoder_.visit(visitor);
}

Tensor EncoderDecoder::embed_source(const Tensor& ids_BS, ForwardState& state) const {
  return decoder_.embedded(ids_BS, state, kSourceEmbeddingSite);
}

Tensor EncoderDecoder::encode(const Source& source, ForwardState& state) const {
  state.lengths_B = source.lengths_B;
  return ops::dropout(encoder_.forward(embed_source(source.ids_BS, state), state), config().dropout,
                      kSourceSite, state.pass);
}

void EncoderDecoder::read_source(const Source& source, ForwardState& state) const {
  MOTE_CHECK(source.ids_BS.defined() && source.ids_BS.numel() > 0, "the source is empty");
  Pass pass = state.pass;  // what it makes is read for as long as the target grows
  pass.buffers = nullptr;
  ForwardState reading(pass);
  const Tensor source_BSD = encode(source, reading);
  for (auto& commit : reading.commits) state.commits.push_back(std::move(commit));
  if (state.caches.empty()) {
    state.source_BSD = source_BSD;
    state.source_lengths_B = source.lengths_B;
    return;
  }
  assert(state.caches.size() == 1 && state.caches[0]->position() == 0);
  Cache& cache = *state.caches[0];
  cache.source_lengths_B = source.lengths_B;
  decoder_.stack().remember_source(source_BSD, cache, pass);
}

Tensor EncoderDecoder::embed(const Tensor& ids_BT, ForwardState& state) const {
  return decoder_.embed(ids_BT, state);
}
Tensor EncoderDecoder::hidden(const Tensor& ids_BT, ForwardState& state) const {
  return decoder_.hidden(ids_BT, state);
}
Tensor EncoderDecoder::logits(const Tensor& hidden, const Pass& pass) const {
  return decoder_.logits(hidden, pass);
}
Tensor EncoderDecoder::token_losses(const Tensor& hidden_BTD, const Tensor& targets_BT,
                                    const Pass& pass) const {
  return decoder_.token_losses(hidden_BTD, targets_BT, pass);
}

TrainingLoss EncoderDecoder::loss(const TrainingBatch& batch, Memory&, const Pass& pass) const {
  ForwardState reading(pass), writing(pass);
  writing.source_BSD = encode(batch.source, reading);
  writing.source_lengths_B = batch.source.lengths_B;
  TrainingLoss loss = decoder_.loss(batch, writing);
  // Penalties of all layers together are of a stack's layers.
  if (const Tensor penalty = penalties(reading); penalty.defined())
    loss.total = loss.total + penalty;
  for (auto& commit : reading.commits) loss.commits.push_back(std::move(commit));
  return loss;
}

Cache EncoderDecoder::make_cache(std::int64_t memory_tokens) const {
  return decoder_.make_cache(memory_tokens);
}

}  // namespace mote::model
