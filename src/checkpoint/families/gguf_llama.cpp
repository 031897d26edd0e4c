#include "checkpoint/families/architectures.h"
#include "checkpoint/families/gguf_decoder.h"

namespace mote::checkpoint {

// Llama, SmolLM, Mistral: rows of queries and keys lie so that neighbours are the pairs that turn.
FamilyModel read_gguf_llama(const GgufFile& file) {
  const GgufConfig config(file);
  ModelConfig model = read_gguf_decoder(config, file, 10000);
  model.attention.get_if<Rotary>()->rotary.pairs = RotaryPairs::adjacent;
  config.only("expert_count", 0);
  config.only("expert_used_count", 0);
  config.only("attention.sliding_window", 0);
  return finished(config, std::move(model), gguf_decoder_names());
}

}  // namespace mote::checkpoint
