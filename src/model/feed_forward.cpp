#include "model/feed_forward.h"

#include "model/experts/mixture.h"
#include "model/layers/dense_feed_forward.h"

namespace mote::model {

std::unique_ptr<FeedForward> make_feed_forward(const ModelConfig& config, std::int64_t layer) {
  switch (config.feed_forward.kind) {
    case FeedForwardKind::dense:
      return std::make_unique<DenseFeedForward>(config, layer);
    case FeedForwardKind::sigma_moe:
      return std::make_unique<Mixture>(config, layer);
  }
  return nullptr;
}

}  // namespace mote::model
