// Compresses the experts of a saved model: checkpoint in, calibration text through it block by
// block, smaller checkpoint out.
//
// Every block sees the outputs of the blocks already compressed. In one block: attention for all
// samples; routing; second moments of what each expert is given; `up` is rounded, then `down`; the
// samples go on through the packed experts.
#pragma once

#include <filesystem>
#include <string>

#include "compress/methods/method.h"
#include "model/pass.h"

namespace mote::compress {

struct CompressOptions {
  MethodKind method = MethodKind::gptq;
  MethodOptions rounding;
  std::string calibration;  // a corpus; empty: gcide:train
  std::string validation;   // scored before and after; empty: the :valid split of a :train
                            // calibration, else none
  std::uint64_t validation_bytes = 200000;
  std::int64_t samples = 128;
  std::uint64_t seed = 1;
  // An expert's moments count at most this many times its fair share of the calibration rows.
  std::int64_t cap_factor = 4;
  // Moments of `down`'s inputs as the packed `up` makes them (QMoE's --true-sequential).
  bool true_sequential = false;
  // `down` is first refitted so that, from the inputs that the packed `up` makes, it gives the
  // outputs of the original pair.
  bool match_outputs = false;
};

struct CompressReport {
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of model.safetensors
  double expert_bits_per_weight = 0;                // every stored bit counted
  double zeros = 0, entropy_bits_per_weight = 0;    // share of expert weights; mean over matrices
  double loss_before = 0, loss_after = 0;           // nats per token; 0 without validation
  bool validated = false;
  std::int64_t experts = 0, calibrated = 0;  // matrices' stacks count their experts once per layer
  std::int64_t calibration_tokens = 0;
  double seconds = 0;
};

CompressReport compress(const std::filesystem::path& source, const std::filesystem::path& target,
                        const CompressOptions& options, const model::Pass& pass);

}  // namespace mote::compress
