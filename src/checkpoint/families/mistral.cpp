#include "checkpoint/families/decoder.h"
#include "checkpoint/families/decoders.h"

namespace mote::checkpoint {

FamilyModel read_mistral(FamilySource source) {
  const HfConfig config(source.config, source.file);
  ModelConfig model = read_decoder(config, 10000);
  read_windows(
      config, config.integer("sliding_window", 0), [](std::int64_t) { return true; },
      Json::object(), model);
  return finished(config, std::move(model), decoder_names(), source);
}

}  // namespace mote::checkpoint
