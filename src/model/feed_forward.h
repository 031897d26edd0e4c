// The feed-forward layer of a block, and what it is given and gives back.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/config.h"
#include "model/ops/routes.h"
#include "model/parameters.h"
#include "model/pass.h"

namespace mote::model {

// Rows and what routers need beside them. Rows of a sequence are adjacent: sequence b has rows [b *
// length, (b + 1) * length).
struct TokenBatch {
  Tensor x_ND;
  std::int64_t sequences = 1;
  Tensor padding_N = {};     // bool, true where a row is padding; undefined: none is
  Tensor router_state = {};  // per token, passed from layer to layer by routers that need it;
                             // opaque to everyone else
  Pass pass = {};
};

// Which expert took which token with what weight.
struct Usage {
  std::shared_ptr<const ops::SortedRoutes> routes;
  Tensor gates_NK;
};

struct FeedForwardResult {
  Tensor y_ND;
  Tensor penalty = {};              // a scalar to add to the loss, weight included; undefined: none
  std::optional<Usage> usage = {};  // of a layer with experts
  Tensor router_state = {};
};

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  virtual FeedForwardResult forward(const TokenBatch& batch) const = 0;
  virtual void visit(const std::string& name, ParameterVisitor& visitor) = 0;
  // This layer as a router and a bank of experts; null for those that are something else.
  virtual class Mixture* mixture() { return nullptr; }
};

std::unique_ptr<FeedForward> make_feed_forward(const ModelConfig& config, std::int64_t layer);

}  // namespace mote::model
