#include "checkpoint/families/decoder.h"
#include "checkpoint/families/decoders.h"

namespace mote::checkpoint {

FamilyModel read_llama(FamilySource source) {
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  attention_of(model).bias = attention_of(model).output_bias = config.flag("attention_bias", false);
  dense_of(model).bias = config.flag("mlp_bias", false);
  return finished(config, std::move(model), decoder_names(), source);
}

}  // namespace mote::checkpoint
