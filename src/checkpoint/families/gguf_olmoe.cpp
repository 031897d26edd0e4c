#include "checkpoint/families/architectures.h"
#include "checkpoint/families/gguf_experts.h"

namespace mote::checkpoint {

FamilyModel read_gguf_olmoe(const GgufSource& file) {
  const GgufConfig config(file);
  ModelConfig model = read_gguf_decoder(config, file, 10000);
  model.attention.get_if<Rotary>()->head_norm = HeadNorm::all;
  set_gguf_mixture(config, file, model.feed_forward.get_if<Dense>()->width,
                   GgufGates::softmax_of_all, false, model);
  return finished(config, std::move(model));
}

}  // namespace mote::checkpoint
