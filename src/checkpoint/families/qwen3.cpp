#include "checkpoint/families/decoder.h"
#include "checkpoint/families/decoders.h"

namespace mote::checkpoint {

FamilyModel read_qwen3(FamilySource source) {
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  attention_of(model).bias = attention_of(model).output_bias = config.flag("attention_bias", false);
  attention_of(model).head_norm = HeadNorm::head;
  read_qwen_windows(config, model);
  return finished(config, std::move(model), decoder_names(), source);
}

}  // namespace mote::checkpoint
