#include "model/layers/feed_forward.h"

#include "model/layers/dense_feed_forward.h"
#include "model/layers/lookup.h"
#include "model/layers/mixture.h"

namespace mote::model {

std::unique_ptr<FeedForward> make_feed_forward(const LayerConfig& config, const LayerPlace& place) {
  if (const auto* mixture = config.feed_forward.get_if<checkpoint::Mixture>())
    return std::make_unique<Mixture>(*mixture, place);
  if (const auto* topk = config.feed_forward.get_if<checkpoint::TopK>())
    return std::make_unique<DenseFeedForward>(*topk, config.dropout, place);
  if (const auto* memory = config.feed_forward.get_if<checkpoint::ProductKey>())
    return std::make_unique<ProductKey>(*memory, place);
  if (const auto* peer = config.feed_forward.get_if<checkpoint::Peer>())
    return std::make_unique<Peer>(*peer, place);
  return std::make_unique<DenseFeedForward>(*config.feed_forward.get_if<checkpoint::Dense>(),
                                            config.dropout, place);
}

}  // namespace mote::model
