#include "checkpoint/families/architectures.h"
#include "checkpoint/families/gguf_decoder.h"
#include "checkpoint/families/gguf_experts.h"

namespace mote::checkpoint {
namespace {

constexpr const char* kDivisors = "rope_freqs.weight";

// Llama 3's scaling, which its files have as what frequencies are divided by.
void read_divisors(const GgufSource& file, const GgufConfig& config, ModelConfig& model) {
  if (!file.has(kDivisors)) return;
  RotaryConfig& rotary = model.attention.get_if<Rotary>()->rotary;
  const Tensor& stored = file.at(kDivisors);
  if (stored.dtype != Dtype::f32 || stored.shape.size() != 1)
    config.refuse(kDivisors, concat("is ", name(stored.dtype), " ", in_brackets(stored.shape),
                                    "; one row of F32 is read"));
  if (!rotary.scaling.get_if<NoScaling>())
    config.refuse(kDivisors, concat("is there, and rope.scaling.type is ", rotary.scaling.kind(),
                                    "; one of them scales positions"));
  LongScaling scaling;
  for (const float divisor : stored.copied<float>())
    scaling.short_factors.push_back(static_cast<double>(divisor));
  scaling.long_factors = scaling.short_factors;
  scaling.context = model.context;
  rotary.scaling = scaling;
}

}  // namespace

// Llama, SmolLM, Mistral, Mixtral: rows of queries and keys lie so that neighbours are the pairs that turn.
FamilyModel read_gguf_llama(const GgufSource& file) {
  const GgufConfig config(file);
  ModelConfig model = read_gguf_decoder(config, file, 10000);
  const std::int64_t dense_width = model.feed_forward.get_if<Dense>()->width;
  model.attention.get_if<Rotary>()->rotary.pairs = RotaryPairs::adjacent;
  if (config.integer("expert_count", 0) > 0)
    set_gguf_mixture(config, file, dense_width, GgufGates::softmax_of_all, true, model);
  else
    config.only("expert_used_count", 0);
  config.only("attention.sliding_window", 0);
  read_divisors(file, config, model);
  FamilyModel read = finished(config, std::move(model));
  read.ignored = [](const std::string& tensor) { return tensor == kDivisors; };
  return read;
}

}  // namespace mote::checkpoint
