// Compresses a saved model: checkpoint in, calibration text through it block by block, smaller
// checkpoint out. Every block sees the outputs of the blocks already compressed
// (compress/block_compressor.h).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "compress/methods/method.h"
#include "model/pass.h"
#include "text/corpus.h"

namespace mote::compress {

struct CompressOptions {
  MethodKind method = MethodKind::gptq;
  MethodOptions rounding;
  std::string layers = "experts";  // which weights (compress/targets.h)
  std::string calibration;         // a corpus; empty: what the model was trained on, if its folder
                                   // says that, else gcide:train
  std::string validation;          // scored before and after; empty: what the model was validated
                                   // on, else the :valid split of a :train calibration, else none
  // The first ones of it; 0: all. None: as many as training scored of its own text, 300,000 of
  // another.
  std::optional<std::uint64_t> validation_bytes;
  text::TextFormat format;  // of both
  std::int64_t samples = 128;
  std::uint64_t seed = 1;
  // An expert's moments count at most this many times its fair share of the calibration rows.
  std::int64_t cap_factor = 4;
  // Moments of what packed weights make of the text, for the weights behind them in the block
  // (QMoE's --true-sequential).
  bool true_sequential = false;
  // Of encoder-decoders: moments of experts are of special tokens too.
  bool count_special = false;
  // Weights are first refitted so that, from the inputs that the packed ones before them make, they
  // give the outputs of the original block.
  bool match_outputs = false;
};

struct CompressReport {
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of model.safetensors
  // Every stored bit counted: of the expert stacks, and of all that was packed. 0: there is none.
  double expert_bits_per_weight = 0, bits_per_weight = 0;
  double zeros = 0, entropy_bits_per_weight = 0;  // share of packed weights; mean over matrices
  std::int64_t matrices = 0;                      // packed, a stack counted once
  double loss_before = 0, loss_after = 0;         // nats per token; 0 without validation
  bool validated = false;
  // Of layers whose experts were packed. Calibrated: all matrices of the expert had statistics.
  std::int64_t experts = 0, calibrated = 0;
  std::string calibration, validation;  // corpora; empty: none was read
  std::int64_t samples = 0, calibration_tokens = 0, validation_bytes = 0;
  std::int64_t parameters = 0;  // of the model
  double seconds = 0;
};

CompressReport compress(const std::filesystem::path& source, const std::filesystem::path& target,
                        const CompressOptions& options, const model::Pass& pass);

}  // namespace mote::compress
