#include "checkpoint/families/decoders.h"
#include "checkpoint/families/experts.h"

namespace mote::checkpoint {

FamilyModel read_phimoe(FamilySource source) {
  static const std::vector<NameRule> kNames = mixtral_names();
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 1e6);
  model.norms.kind = NormKind::layer;
  model.norms.epsilon = config.number("rms_norm_eps", 1e-5);
  model.head.bias = config.flag("lm_head_bias", false);
  Rotary& attention = attention_of(model);
  attention.bias = attention.output_bias = config.flag("attention_bias", false);
  read_windows(
      config, config.integer("sliding_window", 0), [](std::int64_t) { return true; },
      Json::object(), model);
  Mixture mixture = read_mixture(config, "intermediate_size", model);
  mixture.router.select = SparseMixer{config.number("router_jitter_noise", 0.01)};
  if (const double jitter = config.number("input_jitter_noise", 0); jitter > 0)
    mixture.router.noise = JitterNoise{jitter};
  set_mixture(mixture, {}, config.file(), model);
  return finished(config, std::move(model), kNames, source);
}

}  // namespace mote::checkpoint
