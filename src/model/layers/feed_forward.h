// The feed-forward layer of a block: rows in, rows out.
#pragma once

#include <memory>

#include "model/forward_state.h"
#include "model/layer_place.h"
#include "model/parameters.h"

namespace mote::model {

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  virtual Tensor forward(const Tensor& x_ND, ForwardState& state) const = 0;
  virtual void visit(const std::string& name, ParameterVisitor& visitor) = 0;
};

std::unique_ptr<FeedForward> make_feed_forward(const LayerConfig& config, const LayerPlace& place);

}  // namespace mote::model
