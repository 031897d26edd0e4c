// Compresses the chosen weights of one block and sends the calibration samples on through it.
//
// A first pass over the samples with the block as it is sums the second moments of what enters each
// chosen weight; then all are rounded. Sequentially, weights that multiply one input are rounded,
// and the next moments are of what the rounded ones make. Then the samples go through the block.
// What it knows of the block are names: an observer sees inputs, a visitor replaces weights.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "compress/compressor.h"
#include "compress/refit.h"
#include "compress/targets.h"

namespace mote::compress {

// A calibration sample on its way through the model: what goes from block to block.
struct Sample {
  Tensor x_1TD;  // the residual stream
  Tensor ids_1T;
  Tensor router_state;        // as the block before has left it
  Tensor source_1SD;          // what an encoder made of its source; undefined: there is none
  std::vector<char> counted;  // SampleText::counted
};

// Their residual streams are views of one buffer.
class Samples {
 public:
  // As the text, or its source, enters a stack.
  using Embed = std::function<Tensor(const Tensor& ids_1T)>;
  enum class Side { text, source };
  Samples(const std::vector<SampleText>& texts, Side side, std::int64_t dim, const Embed& embed);
  std::int64_t tokens() const { return x_ND_.size(0); }
  bool finite() const;  // every number of every sample
  std::vector<Sample>& each() { return samples_; }

 private:
  Tensor x_ND_;
  std::vector<Sample> samples_;
};

// A part of a model that samples go through: a block, or what comes after the last.
struct Part {
  // One sample after it.
  std::function<Sample(const Sample& before, const model::Pass& pass)> forward;
  std::function<void(model::ParameterVisitor&)> visit;
};

class BlockCompressor {
 public:
  BlockCompressor(const CompressOptions& options, const model::Pass& pass);

  struct Compressed {
    std::string name;
    MethodResult result;
  };
  // Compresses what the choice takes of `part` and moves the samples on.
  std::vector<Compressed> compress(const Part& part, const Choice& choice, Samples& samples) const;

 private:
  void watch(const Part& part, Samples& samples, InputMoments& moments) const;
  // Rounds the weights `names` of `targets`, which are replaced in the part.
  void round(const Part& part, const std::vector<std::string>& names, const InputMoments& moments,
             std::vector<Target>& targets, std::vector<Compressed>& done) const;
  // Refits them to what enters them now, `originals` being the weights of the untouched part.
  void refit(const Part& part, const std::vector<std::string>& names, const InputMoments& moments,
             const std::vector<Target>& originals, std::vector<Target>& targets,
             Samples& samples) const;

  const CompressOptions options_;
  const model::Pass pass_;
  const std::unique_ptr<Method> method_;
};

}  // namespace mote::compress
