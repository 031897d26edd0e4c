#include "model/layers/feed_forward.h"

#include "model/layers/dense_feed_forward.h"
#include "model/layers/mixture.h"

namespace mote::model {

std::unique_ptr<FeedForward> make_feed_forward(const LayerConfig& config, const LayerPlace& place) {
  if (const auto* mixture = config.feed_forward.get_if<checkpoint::Mixture>())
    return std::make_unique<Mixture>(*mixture, place);
  return std::make_unique<DenseFeedForward>(*config.feed_forward.get_if<checkpoint::Dense>(),
                                            config.dropout, place);
}

}  // namespace mote::model
