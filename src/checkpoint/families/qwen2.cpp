#include "checkpoint/families/decoder.h"
#include "checkpoint/families/decoders.h"

namespace mote::checkpoint {

FamilyModel read_qwen2(FamilySource source) {
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  attention_of(model).bias = true;
  read_qwen_windows(config, model);
  return finished(config, std::move(model), decoder_names(), source);
}

}  // namespace mote::checkpoint
