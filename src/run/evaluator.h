// Scores a saved model on a corpus.
#pragma once

#include <filesystem>
#include <string>

#include "model/loss.h"

namespace mote::run {

struct Evaluation {
  model::CorpusLoss loss;
  double seconds = 0;
};

// `max_bytes` 0: the whole corpus. `context` 0: the model's own; else the positions that the last
// position of a block sees, at least the block itself; of models in which a token sees all before it,
// the tokens of a window (model/loss.h). Encoder-decoders are scored on the targets of pairs where `format`
// has a key of targets, else on gaps (span corruption). `streams` > 0: by Transformer-XL's protocol
// (model/loss.h). Throws when `pass` asks for 8-bit activations and the model has no weights for them.
Evaluation evaluate(const std::filesystem::path& model_folder, const std::string& corpus,
                    std::uint64_t max_bytes, std::int64_t context, const model::Pass& pass,
                    const text::TextFormat& format = {}, std::int64_t streams = 0);

// The memory that goes with a context of that many positions; -1 for 0, and for models in which a
// token sees all before it. Throws when it is shorter
// than the model's block, or differs from it where positions are absolute.
std::int64_t memory_for_context(const checkpoint::ModelConfig& config, std::int64_t context);

}  // namespace mote::run
