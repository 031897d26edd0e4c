#include "checkpoint/families/decoders.h"
#include "checkpoint/families/experts.h"

namespace mote::checkpoint {

FamilyModel read_olmoe(FamilySource source) {
  static const std::vector<NameRule> kNames = mixture_names();
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  model.norms.epsilon = config.number("rms_norm_eps", 1e-5);
  Rotary& attention = attention_of(model);
  attention.bias = attention.output_bias = config.flag("attention_bias", false);
  attention.head_norm = HeadNorm::all;
  attention.clip = config.number("clip_qkv", 0);
  Mixture mixture = read_mixture(config, "intermediate_size", model);
  mixture.router.renormalise = config.flag("norm_topk_prob", false);
  set_mixture(mixture, {}, config.file(), model);
  return finished(config, std::move(model), kNames, source);
}

}  // namespace mote::checkpoint
